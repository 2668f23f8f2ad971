"""What ``torchrun`` starts twice in a test: two trainings, then a look at everybody's weights."""

import sys
from functools import partial
from pathlib import Path

import torch
from torch import distributed as process_group

from tests.engines import tasks
from tests.engines.tiny import averaged, pretraining, segmentation
from volseg.engines import distributed


def main(folder):
    """Train, resume, and compare the weights of all processes."""
    torch.set_num_threads(1)
    builders = [("pretrain", pretraining), ("segment", segmentation), ("mean", averaged)]
    builders += [(name, partial(tasks.pretraining, name)) for name in tasks.TASKS]
    for name, build in builders:
        # a batch of one has no other volume to compare with
        size = 2 if name in tasks.TASKS else 1
        build(folder / name, batch_size=size).run()
        trainer = build(folder / name, batch_size=size, resume=True)
        trainer.run()
        own = torch.cat([p.detach().flatten() for p in trainer.network.parameters()])
        everybody = [torch.zeros_like(own) for _ in range(distributed.world_size())]
        process_group.all_gather(everybody, own)
        assert all(torch.equal(own, other) for other in everybody)
    (folder / f"rank_{distributed.rank()}_of_{distributed.world_size()}").touch()
    distributed.finish()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
