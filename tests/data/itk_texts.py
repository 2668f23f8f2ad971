"""MetaImage and NRRD files written by hand, so that no reader has a say in what they hold."""

import numpy as np

VALUES = np.arange(24, dtype="<i2").reshape((2, 3, 4), order="F")
"""What every file holds: the first axis runs fastest in both formats."""

META = {
    "ObjectType": "Image",
    "NDims": 3,
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "Offset": "0 0 0",
    "ElementSpacing": "1 1 1",
    "DimSize": "2 3 4",
    "ElementType": "MET_SHORT",
}

NRRD = {
    "type": "short",
    "dimension": 3,
    "space": "left-posterior-superior",
    "sizes": "2 3 4",
    "space directions": "(1,0,0) (0,1,0) (0,0,1)",
    "space origin": "(0,0,0)",
    "endian": "little",
    "encoding": "raw",
}


def write_meta(path, **fields):
    """Write a MetaImage; give its path."""
    lines = [f"{key} = {value}" for key, value in {**META, **fields}.items()]
    head = "\n".join([*lines, "ElementDataFile = LOCAL", ""])
    path.write_bytes(head.encode() + VALUES.tobytes("F"))
    return path


def write_nrrd(path, fields=None):
    """Write a NRRD file without the fields that are `None`; give its path."""
    pairs = {**NRRD, **(fields or {})}.items()
    lines = [f"{key}: {value}" for key, value in pairs if value is not None]
    head = "\n".join(["NRRD0004", *lines, "", ""])
    path.write_bytes(head.encode() + VALUES.tobytes("F"))
    return path
