#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Reads what --picture has written: is it well-formed, and is each triangle of the mesh there once?

usage: check_picture.py DIRECTORY SQUARES_PER_SIDE RANKS
"""
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree

SVG = "{http://www.w3.org/2000/svg}"
SIDE = 5600  # units of the drawn square


def area(points):
    """Twice the area of a polygon."""
    return abs(sum(x * v - u * y for (x, y), (u, v) in zip(points, points[1:] + points[:1])))


def check_vtk(directory, n, ranks):
    index = ElementTree.parse(directory / "poisson.pvtu").getroot()
    assert index.get("type") == "PUnstructuredGrid"
    sources = [piece.get("Source") for piece in index.iter("Piece")]
    assert sources == [f"poisson_{rank}.vtu" for rank in range(ranks)], sources

    triangles, values, owners = set(), {}, set()
    for rank, source in enumerate(sources):
        piece = next(ElementTree.parse(directory / source).getroot().iter("Piece"))
        arrays = {array.get("Name") or "points": array.text.split() for array in piece.iter("DataArray")}
        cells, points = int(piece.get("NumberOfCells")), int(piece.get("NumberOfPoints"))
        assert len(arrays["points"]) == 3 * points and len(arrays["u"]) == points
        assert arrays["types"] == ["5"] * cells
        assert [int(end) for end in arrays["offsets"]] == list(range(3, 3 * cells + 1, 3))
        assert arrays["rank"] == [str(rank)] * cells
        if cells:
            owners.add(rank)
        at = [tuple(map(float, arrays["points"][3 * i : 3 * i + 2])) for i in range(points)]
        for vertex, value in zip(at, map(float, arrays["u"])):
            # Ranks agree on the vertices that they share.
            assert abs(values.setdefault(vertex, value) - value) < 1e-12, vertex
        corners = [at[int(vertex)] for vertex in arrays["connectivity"]]
        for i in range(0, 3 * cells, 3):
            triangle = corners[i : i + 3]
            assert abs(area(triangle) * n * n - 1) < 1e-9, triangle
            assert frozenset(triangle) not in triangles, triangle
            triangles.add(frozenset(triangle))
    assert len(triangles) == 2 * n * n, len(triangles)
    assert len(values) == (n + 1) ** 2, len(values)
    assert owners == set(range(ranks)), owners
    assert 0.99 < max(values.values()) < 1.01 and abs(min(values.values())) < 1e-9
    return values


def check_svg(directory, n, ranks, values):
    picture = ElementTree.parse(directory / "poisson.svg").getroot()
    assert picture.tag == SVG + "svg" and picture.get("viewBox")
    paths = {}
    for path in picture.iter(SVG + "path"):
        paths.setdefault(path.get("class"), []).append(path.get("d"))

    # The bands cover the square: their areas add up to it, but for the rounding of coordinates.
    polygons = re.findall(r"M([^z]+)z", "".join(paths["band"]))
    covered = 0
    for polygon in polygons:
        numbers = list(map(int, re.findall(r"\d+", polygon)))
        points = list(zip(numbers[::2], numbers[1::2]))
        assert len(points) >= 3 and all(0 <= c <= SIDE for c in numbers), polygon
        covered += area(points) / 2
    assert abs(covered / SIDE**2 - 1) < 0.002, covered / SIDE**2
    assert len(polygons) >= 2 * n * n

    (mesh,), (between,) = paths["mesh"], paths["ranks"]
    assert mesh.count("M") == n * (3 * n + 2), mesh.count("M")
    # The mesh is cut by rows: n edges between neighbours.
    assert between.count("M") == n * (ranks - 1), between.count("M")

    texts = [text.text for text in picture.iter(SVG + "text")]
    assert [text for text in texts if text.startswith("rank ")] == [f"rank {r}" for r in range(ranks) if ranks > 1], texts
    numbers = [float(t) for t in texts if re.fullmatch(r"-?[0-9.]+(e[-+]\d+)?", t)]
    assert min(numbers) <= min(values.values()) + 1e-9 and max(numbers) >= 0.9 * max(values.values()), numbers


def main():
    directory, n, ranks = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    check_svg(directory, n, ranks, check_vtk(directory, n, ranks))


main()
