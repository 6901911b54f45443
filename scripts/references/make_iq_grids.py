"""Makes src/formats/ggufIqGrids.ts: which points the grids of GGUF's IQ types have.

    pip install gguf==0.19.0 && python scripts/references/make_iq_grids.py

A grid is a list of short vectors whose entries take few values (three or eight). Read as a number in base three or eight,
the first entry lowest, the vectors of every grid stand in ascending order; so a grid is a set of numbers, and a set is one
bit for each number there can be, lowest bit first. The points are read from the package's arrays, not from its source.
"""

import base64
import pathlib

import numpy
from gguf import quants

OUT = pathlib.Path(__file__).parents[2] / "src/formats/ggufIqGrids.ts"
NAMES = {"iq2xxs": "IQ2_XXS", "iq2xs": "IQ2_XS", "iq2s": "IQ2_S", "iq3xxs": "IQ3_XXS", "iq3s": "IQ3_S", "iq1": "IQ1_S"}


def points(name):
    kind = getattr(quants, name)
    kind.init_grid()
    grid = numpy.asarray(kind.grid).reshape(-1, numpy.asarray(kind.grid).shape[-1])
    return grid, numpy.unique(grid)


def bits(grid, values):
    codes = numpy.searchsorted(values, grid) @ (len(values) ** numpy.arange(grid.shape[1]))
    assert (numpy.diff(codes) > 0).all()
    member = numpy.zeros(len(values) ** grid.shape[1], dtype=numpy.uint8)
    member[codes] = 1
    return base64.b64encode(numpy.packbits(member, bitorder="little")).decode()


def main():
    lines = [
        "/**",
        " * The grids of GGUF's IQ types: a fixed part of that format. Made by scripts/references/make_iq_grids.py; do not edit.",
        " * Each is a set of vectors, one bit (lowest first, base64) for every vector there can be; see `readGrid`.",
        " */",
        "",
        "export interface PackedGrid {",
        "  /** Entries of a vector. */",
        "  readonly width: 4 | 8;",
        "  /** What the digits of a vector's number mean. */",
        "  readonly values: readonly number[];",
        "  readonly members: string;",
        "}",
        "",
    ]
    for short, name in NAMES.items():
        grid, values = points(name)
        numbers = ", ".join(str(int(value)) for value in values)
        lines += [
            f"/** {len(grid)} vectors of {name}{' and IQ1_M' if short == 'iq1' else ''}. */",
            f"export const {short}Grid: PackedGrid = {{",
            f"  width: {grid.shape[1]},",
            f"  values: [{numbers}],",
            "  members:",
            f"    '{bits(grid, values)}',",
            "};",
            "",
        ]
    OUT.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
