"""Which edges of a graph have to go so that two nodes stay apart.

Here: graph theory on pairs of names. Not here: what the nodes and edges mean (`group`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

Pair = tuple[str, str]


def edges_between(edges: Iterable[Pair], walls: Mapping[Pair, frozenset[str]]) -> set[Pair]:
    """Edges (smaller name first) to take away so that nobody gets from one side of a wall to the other.

    A wall is told with the sides that give way: all edges at such a side that lie on a path to the other one go. With
    the wall added as an edge, the edges on paths (that visit no node twice) are those of its biconnected component.
    """
    graph: dict[str, set[str]] = {}
    for a, b in edges:
        graph.setdefault(a, set()).add(b)
        graph.setdefault(b, set()).add(a)
    found: set[Pair] = set()
    for (x, y), giving_way in walls.items():
        if x in graph and y in graph:
            had = y in graph[x]
            graph[x].add(y)
            graph[y].add(x)
            for part in biconnected(graph, x):
                if (x, y) in part or (y, x) in part:
                    found |= {(min(e), max(e)) for e in part if giving_way & set(e) and (had or {*e} != {x, y})}
            if not had:
                graph[x].discard(y)
                graph[y].discard(x)
    return found


def biconnected(graph: dict[str, set[str]], start: str) -> Iterator[list[Pair]]:
    """Edges of each biconnected component of the part that holds `start` (Hopcroft and Tarjan, without recursion)."""
    depth, low = {start: 0}, {start: 0}
    seen: list[Pair] = []
    way: list[tuple[str, str, Iterator[str]]] = [("", start, iter(graph[start]))]
    while way:
        before, node, others = way[-1]
        for other in others:
            if other == before:
                continue
            if other in depth:
                if depth[other] < depth[node]:
                    seen.append((node, other))
                    low[node] = min(low[node], depth[other])
                continue
            depth[other] = low[other] = len(depth)
            seen.append((node, other))
            way.append((node, other, iter(graph[other])))
            break
        else:
            way.pop()
            if way:
                low[before] = min(low[before], low[node])
                if low[node] >= depth[before]:
                    cut = seen.index((before, node))
                    yield seen[cut:]
                    del seen[cut:]
