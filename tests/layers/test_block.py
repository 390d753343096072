from __future__ import annotations

import numpy as np
import pytest

from kflow.engine.interface import Layer
from kflow.layers.block import HISTORY, Block, into_blocks
from kflow.layers.rank_reduction import RankReduction


def some_layers(rng, count, rank=3, n_fixed=1, dtype=np.float64):
    return tuple(
        Layer(
            rng.normal(size=(4, rank + n_fixed)).astype(dtype),
            rng.normal(size=(4, rank)).astype(dtype),
            0.1 * number + 0.1,
        )
        for number in range(count)
    )


def some_records(count):
    return tuple(tuple(float(10 * n + i) for i in range(len(HISTORY))) for n in range(count))


def turn(rng, layer, before=4, kept=3):
    return RankReduction(layer, np.linalg.qr(rng.normal(size=(before, before)))[0], kept)


def test_what_a_block_knows(rng):
    block = Block(7, some_layers(rng, 2), turn(rng, 7), some_records(2))
    assert (len(block), block.first, block.end, block.rank) == (2, 7, 9, 3)
    assert block.dtype == np.float64


def test_what_does_not_fit(rng):
    layers, records = some_layers(rng, 2), some_records(2)
    wider = some_layers(rng, 1, rank=2)
    single = some_layers(rng, 1, dtype=np.float32)
    z, c, step = layers[0]
    wrong = [
        (-1, layers, None, records),
        (0, (), None, ()),
        (0, (layers[0], *wider), None, records),
        (0, (layers[0], *single), None, records),
        (0, layers, None, records[:1]),
        (0, layers, None, [(1.0,), (2.0,)]),
        (0, layers, turn(rng, 1), records),
        (0, layers, turn(rng, 0, kept=2), records),
        (0, (Layer(z[:3], c, step),), None, records[:1]),
        (0, (Layer(z[:, :2], c, step),), None, records[:1]),
        (0, (Layer(z[0], c[0], step),), None, records[:1]),
    ]
    for arguments in wrong:
        with pytest.raises(ValueError, match=r"layer|block|record"):
            Block(*arguments)


@pytest.mark.parametrize("size", [1, 2, 3, 20])
def test_cut(rng, size):
    reduction = turn(rng, 3)
    layers = [*some_layers(rng, 3, rank=4), *some_layers(rng, 5)]
    records = some_records(8)
    blocks = list(into_blocks(iter(layers), records, {3: reduction}, size))
    assert [layer for block in blocks for layer in block.layers] == layers
    assert [record for block in blocks for record in block.records] == list(records)
    assert all(len(block) <= size for block in blocks)
    assert [block.first for block in blocks] == [0, *(block.end for block in blocks[:-1])]
    assert [block.reduction for block in blocks if block.first == 3] == [reduction]
    assert all(block.reduction is None for block in blocks if block.first != 3)


def test_cut_takes_no_more_than_there_are_records(rng):
    (block,) = into_blocks(some_layers(rng, 5), some_records(2), {}, 20)
    assert len(block) == 2
    assert list(into_blocks((), (), {}, 20)) == []
