import pytest

from volseg.errors import WeightsError
from volseg.networks.config import build
from volseg.networks.narrow import count_parameters, narrow


def whole(encoder: dict) -> dict:
    return {
        "_target_": "volseg.networks.segmenter.Segmenter",
        "encoder": encoder,
        "num_classes": 3,
    }


ENCODERS = [
    {"_target_": "volseg.networks.residual.tiny", "in_channels": 2},
    {
        "_target_": "volseg.networks.residual.ResidualEncoder",
        "in_channels": 1,
        "widths": [8, 16, 24],
        "blocks": [1, 2, 1],
        "downsampling": [[1, 2, 2], [2, 2, 2]],
    },
    {
        "_target_": "volseg.networks.swin.SwinEncoder",
        "in_channels": 1,
        "width": 24,
        "depths": [2, 2],
        "heads": [2, 4],
        "window": 4,
    },
]


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_narrow_network_is_the_widest_within_the_number_and_has_the_same_levels(encoder):
    dense = build(whole(encoder))
    most = count_parameters(dense) // 3
    thin = build(narrow(whole(encoder), most))
    assert 0.72 * most < count_parameters(thin) <= most  # heads of Swin leave steps of two channels
    assert type(thin.encoder) is type(dense.encoder)
    assert thin.encoder.spec.strides == dense.encoder.spec.strides
    assert thin.encoder.spec.in_channels == dense.encoder.spec.in_channels


def test_all_the_parameters_give_the_network_itself():
    preset = {"_target_": "volseg.networks.residual.small", "in_channels": 1}
    dense = build(whole(preset))
    same = narrow(whole(preset), count_parameters(dense))
    assert same["encoder"]["widths"] == [16, 32, 64, 128]
    shapes = [tensor.shape for tensor in dense.state_dict().values()]
    assert [tensor.shape for tensor in build(same).state_dict().values()] == shapes


def test_blocks_and_a_patch_are_kept():
    encoder = {
        "_target_": "volseg.networks.residual.ResidualEncoder",
        "in_channels": 1,
        "widths": [4, 8],
        "blocks": [2, 3],
        "patch": [2, 2, 2],
    }
    config = whole(encoder) | {
        "decoder": {
            "_target_": "volseg.networks.decoder_subpixel.SubpixelDecoder",
            "_mode_": "callable",
        }
    }
    dense = build(config)
    same = narrow(config, count_parameters(dense))
    assert build(same).state_dict().keys() == dense.state_dict().keys()


def test_what_cannot_be_narrowed_is_refused():
    with pytest.raises(WeightsError, match=r"does not state its widths.*width and heads in place"):
        narrow(whole({"_target_": "volseg.networks.swin.tiny"}), 1000)
    with pytest.raises(WeightsError, match=r"even one channel a level takes \d+ .*, above 10;"):
        narrow(whole(ENCODERS[0]), 10)
    with pytest.raises(WeightsError, match="has the encoder None; give the config of one"):
        narrow({"_target_": "volseg.networks.segmenter.Segmenter"}, 1000)
