"""Networks of other projects with random weights, of their own classes or by their definition."""

from math import prod

import torch
from monai.networks.nets.swin_unetr import PatchMergingV2, SwinTransformer
from torch import nn
from torch.nn import functional


def randomised(network, seed=0):
    """Fill every parameter, biases and tables too, with numbers large enough to matter."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.3)
    return network.eval()


def seeded(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def merging(*octants):
    """Give a class that merges patches in an order; an octant is ``(d, h, w)``."""

    class Merging(PatchMergingV2):
        def forward(self, x):
            joined = torch.cat([x[:, d::2, h::2, w::2] for d, h, w in octants], -1)
            return self.reduction(self.norm(joined))

    return Merging


BEFORE_1_5 = merging(*[(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)],
                     *[(1, 0, 1), (0, 1, 0), (0, 0, 1), (1, 1, 1)])  # fmt: skip
SMIT = merging(*[(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)],
               *[(1, 1, 0), (0, 1, 1), (1, 0, 1), (1, 1, 1)])  # fmt: skip


def monai_swin(downsample, window=7, depths=(2, 2, 1, 2), **options):
    network = SwinTransformer(
        in_chans=2,
        embed_dim=4,
        window_size=(window,) * 3,
        patch_size=(2, 2, 2),
        depths=depths,
        num_heads=(1, 2, 2, 4),
        downsample=downsample,
        **options,
    )
    return randomised(network)


class Convolution(nn.Module):
    """The unit of dynamic-network-architectures, which holds each layer under two names."""

    def __init__(self, ins, outs, kernel=3, stride=1, *, bias=True, rectifies=True):
        super().__init__()
        self.conv = nn.Conv3d(ins, outs, kernel, stride, kernel // 2, bias=bias)
        self.norm = nn.InstanceNorm3d(outs, affine=True)
        after = [nn.LeakyReLU(0.01)] if rectifies else []
        self.all_modules = nn.Sequential(self.conv, self.norm, *after)

    def forward(self, x):
        return self.all_modules(x)


class Block(nn.Module):
    def __init__(self, ins, outs, stride):
        super().__init__()
        self.conv1 = Convolution(ins, outs, stride=stride)
        self.conv2 = Convolution(outs, outs, rectifies=False)
        pool = [nn.AvgPool3d(stride, stride)] if stride > 1 else []
        project = [Convolution(ins, outs, 1, bias=False, rectifies=False)] if ins != outs else []
        self.skip = nn.Sequential(*pool, *project)

    def forward(self, x):
        return functional.leaky_relu(self.conv2(self.conv1(x)) + self.skip(x), 0.01)


class ResEnc(nn.Module):
    """The residual encoder of nnU-Net; tests/benchmarks/foreign_weights.py takes their class."""

    def __init__(self, channels, widths, blocks):
        super().__init__()
        self.stem = nn.Module()
        self.stem.convs = nn.Sequential(Convolution(channels, widths[0]))
        self.stages = nn.Sequential()
        ins = [widths[0], *widths[:-1]]
        for level, (a, b, count) in enumerate(zip(ins, widths, blocks, strict=True)):
            stage = nn.Module()
            first = Block(a, b, 2 if level else 1)
            stage.blocks = nn.Sequential(first, *(Block(b, b, 1) for _ in range(count - 1)))
            self.stages.append(stage)

    def forward(self, x):
        x, maps = self.stem.convs(x), []
        for stage in self.stages:
            x = stage.blocks(x)
            maps.append(x)
        return maps


class Primus(nn.Module):
    """A block or more of Primus by its definition, in the names that timm gives its parts."""

    def __init__(self, width, heads, hidden, depth, grid, patch):
        super().__init__()
        self.heads, self.grid = heads, grid
        self.down_projection, self.eva = nn.Module(), nn.Module()
        self.down_projection.proj = nn.Conv3d(1, width, patch, patch)
        self.eva.pos_embed = nn.Parameter(torch.empty(1, prod(grid), width))
        self.eva.blocks = nn.ModuleList(self._block(width, hidden) for _ in range(depth))
        self.eva.norm = nn.LayerNorm(width)

    @staticmethod
    def _block(width, hidden):
        block, linear = nn.Module(), nn.Linear
        block.norm1, block.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        block.gamma_1, block.gamma_2 = (nn.Parameter(torch.empty(width)) for _ in "12")
        block.attn, block.mlp = nn.Module(), nn.Module()
        block.attn.q_proj, block.attn.v_proj = linear(width, width), linear(width, width)
        block.attn.k_proj, block.attn.proj = linear(width, width, bias=False), linear(width, width)
        block.attn.norm, block.mlp.norm = nn.LayerNorm(width), nn.LayerNorm(hidden)
        block.mlp.fc1_g, block.mlp.fc1_x = linear(width, hidden), linear(width, hidden)
        block.mlp.fc2 = linear(hidden, width)
        return block

    def turn(self, rows):
        """Turn pairs of channels as complex numbers, a third of a head along each axis."""
        head = rows.shape[-1]
        place = torch.cartesian_prod(*(torch.arange(n) for n in self.grid)).double()
        rates = torch.tensor([10000 ** (-6 * i / head) for i in range(head // 6)]).double()
        angles = (place[:, :, None] * rates).flatten(1)
        pairs = torch.view_as_complex(rows.double().unflatten(-1, (-1, 2)).contiguous())
        turned = pairs * torch.polar(torch.ones_like(angles), angles)
        return torch.view_as_real(turned).flatten(-2).float()

    def forward(self, x):
        tokens, states = self.down_projection.proj(x).flatten(2).mT + self.eva.pos_embed, []
        for block in self.eva.blocks:
            inner = block.norm1(tokens)
            layers = (block.attn.q_proj, block.attn.k_proj, block.attn.v_proj)
            split = [layer(inner).unflatten(-1, (self.heads, -1)) for layer in layers]
            q, k, v = (part.transpose(1, 2) for part in split)
            scores = self.turn(q) @ self.turn(k).mT / q.shape[-1] ** 0.5
            mixed = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
            tokens = tokens + block.gamma_1 * block.attn.proj(block.attn.norm(mixed))
            inner = block.norm2(tokens)
            gated = functional.silu(block.mlp.fc1_g(inner)) * block.mlp.fc1_x(inner)
            tokens = tokens + block.gamma_2 * block.mlp.fc2(block.mlp.norm(gated))
            states.append(tokens)
        return [*states[:-1], self.eva.norm(tokens)]
