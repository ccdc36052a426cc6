"""Who may speak about a file: the search through delegated roles, most trusted first."""

from __future__ import annotations

from collections.abc import Callable, Iterator


def roles_for(
    path: str,
    load: Callable[[str, str], None],
    delegates: Callable[[str, str], tuple[tuple[str, bool], ...]],
    limit: int,
) -> Iterator[str]:
    """The roles that may speak about `path`, depth first in order of appearance (TUF specification, 5.6.7).

    `load(role, parent)` makes a role's list known; `delegates(role, path)` then names its children and whether each has
    the last word. Roles are visited once, and at most `limit` of them.
    """
    to_visit = [("targets", "root")]
    seen: set[str] = set()
    while to_visit and len(seen) < limit:
        role, parent = to_visit.pop()
        if role in seen:
            continue
        load(role, parent)
        seen.add(role)
        yield role
        children = []
        for child, has_last_word in delegates(role, path):
            children.append((child, role))
            if has_last_word:
                to_visit.clear()
                break
        to_visit.extend(reversed(children))
