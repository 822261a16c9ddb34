"""The modules of genir import each other without circles, imports for type checkers included."""

import grimp
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def test_no_modules_import_each_other_in_a_circle():
    graph = grimp.build_graph("genir", cache_dir=None)
    names = sorted(graph.modules)
    number = {name: place for place, name in enumerate(names)}
    edges = [
        (number[name], number[other])
        for name in names
        for other in graph.find_modules_directly_imported_by(name)
    ]
    sources, targets = zip(*edges, strict=True)
    matrix = coo_array(([1] * len(edges), (sources, targets)), shape=(len(names), len(names)))
    count, labels = connected_components(matrix, connection="strong")
    circles = {}
    for name, label in zip(names, labels.tolist(), strict=True):
        circles.setdefault(label, []).append(name)
    assert count == len(names), [modules for modules in circles.values() if len(modules) > 1]
