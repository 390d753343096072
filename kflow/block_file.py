"""Files of blocks: the name under which `kflow.storage.block_file` is documented."""

from __future__ import annotations

from kflow.storage.block_file import (
    STORED_DTYPES,
    BlockFile,
    decode_block,
    encode_block,
    read_block,
    write_block,
)

__all__ = [
    "STORED_DTYPES",
    "BlockFile",
    "decode_block",
    "encode_block",
    "read_block",
    "write_block",
]
