"""A router as the comparison sees it, in memory: rows in order, and the steps taken on them."""

import itertools

from network.provisioning.diff import LISTS, QUEUES, Add, Difference, Have, Remove, Set
from network.words import Row


class PaperRouter:
    """Holds rows and takes steps; refuses what RouterOS refuses."""

    def __init__(self, queues: list[Row] | None = None, entries: list[Row] | None = None) -> None:
        self._ids = itertools.count(1)
        self.rows = {QUEUES: [], LISTS: []}
        for path, rows in ((QUEUES, queues or []), (LISTS, entries or [])):
            for row in rows:
                self.rows[path].append({".id": f"*{next(self._ids):X}", **row})

    @property
    def have(self) -> Have:
        return Have([dict(row) for row in self.rows[QUEUES]], [dict(row) for row in self.rows[LISTS]])

    def take(self, differences: list[Difference], steps: int | None = None) -> int:
        """Take the steps, at most so many; return how many there were."""
        every = [step for difference in differences for step in difference.steps]
        for step in every[:steps]:
            match step:
                case Add(path, fields):
                    names = [row["name"] for row in self.rows[QUEUES]]
                    assert path == LISTS or fields["name"] not in names, "RouterOS refuses a second of that name"
                    pairs = [(row["list"], row["address"]) for row in self.rows[LISTS]]
                    assert path == QUEUES or (fields["list"], fields["address"]) not in pairs, "already have such entry"
                    self.rows[path].append({".id": f"*{next(self._ids):X}", **fields})
                case Set(path, id_, fields):
                    row = next(row for row in self.rows[path] if row[".id"] == id_)
                    row.update(fields)
                    pairs = [(row["list"], row["address"]) for row in self.rows[LISTS]]
                    assert len(set(pairs)) == len(pairs), "already have such entry"
                    if row.get("disabled") == "no":
                        row["disabled"] = "false"
                case Remove(path, id_):
                    self.rows[path] = [row for row in self.rows[path] if row[".id"] != id_]
        return len(every)
