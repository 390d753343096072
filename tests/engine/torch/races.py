"""A stand-in for queues of a device's work, which finds what they may do in the wrong order.

Operations run at once, in the order in which they are given. For each of them it is known which others must
have come before, in any order that the lanes allow (vector clocks, as in detectors of data races). Memory that
one operation writes and another reads or writes needs such an order, and memory that a lane uses and has
not made must be kept for it.
"""

from __future__ import annotations

from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from kflow.engine.torch.lanes import Lane, Mark


class WatchedMark(Mark):
    def __init__(self, watch, clock):
        super().__init__(None)
        self.watch, self.clock = watch, clock

    def wait(self):
        self.watch.host = merged(self.watch.host, self.clock)


class WatchedLane(Lane):
    def __init__(self, watch, name):
        super().__init__(None)
        self.watch, self.name, self.clock = watch, name, {}

    @contextmanager
    def context(self):
        self.watch.lanes.append(self)
        yield
        self.watch.lanes.pop()

    def mark(self):
        return WatchedMark(self.watch, dict(self.clock))

    def after(self, *marks):
        if self.watch.obeys:
            for mark in marks:
                self.clock = merged(self.clock, mark.clock)

    def keep(self, *tensors):
        for tensor in tensors:
            self.watch.kept.add((self.watch.memory(tensor), self.name))

    def wait(self):
        self.watch.host = merged(self.watch.host, self.clock)


def merged(first, second):
    return {name: max(first.get(name, 0), second.get(name, 0)) for name in {*first, *second}}


class Watch(TorchDispatchMode):
    """Watches what lanes read and write.

    Parameters
    ----------
    obeys : bool
        Whether lanes wait for each other at all.

    Attributes
    ----------
    races : list of str
        Operations whose order is open.
    kept, borrowed : set
        Memory, and the lanes for which it is kept, or which use it and have not made it.
    """

    def __init__(self, obeys=True):
        super().__init__()
        self.obeys, self.host, self.races = obeys, {}, []
        self.kept, self.borrowed, self.n_lanes = set(), set(), 0
        self.lanes = [WatchedLane(self, "first")]
        self._alive, self._written, self._read, self._maker = [], {}, {}, {}

    def new(self, device, *, first=False):
        self.n_lanes += 1
        return WatchedLane(self, f"lane {self.n_lanes}")

    def current(self, device):
        return self.lanes[-1]

    def memory(self, tensor):
        self._alive.append(tensor.untyped_storage())  # its number is given to nobody else
        return self._alive[-1]._cdata

    def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):
        keywords = keywords or {}
        result = operation(*arguments, **keywords)
        returned = operation._schema.returns
        if any(r.alias_info and not r.alias_info.is_write for r in returned):
            return result  # a view
        lane = self.lanes[-1]
        lane.clock = merged(lane.clock, self.host)
        lane.clock[lane.name] = lane.clock.get(lane.name, 0) + 1
        now = (lane.name, lane.clock[lane.name])
        written, read = set(), set()
        named = {a.name: a for a in operation._schema.arguments}
        given = {**dict(zip(named, arguments, strict=False)), **keywords}
        name = operation.overloadpacket.__name__
        if name.startswith("new_") or name.endswith("_like"):  # no numbers are read
            del given["self"]
        for name, value in given.items():
            alias = named[name].alias_info
            place = written if alias is not None and alias.is_write else read
            place.update(self.memory(x) for x in tree_leaves(value) if isinstance(x, torch.Tensor))
        made = {self.memory(x) for x in tree_leaves(result) if isinstance(x, torch.Tensor)}
        for memory in made - written - read:
            self._maker[memory] = lane.name
            self._written[memory], self._read[memory] = now, {}
        for memory in written | read:
            if self._maker.get(memory, lane.name) != lane.name:  # arrays have no maker
                self.borrowed.add((memory, lane.name))
            before = [self._written.get(memory)]
            if memory in written:
                before += self._read.get(memory, {}).items()
            for event in before:
                if event is not None and lane.clock.get(event[0], 0) < event[1]:
                    self.races.append(f"{operation} of {lane.name} and {event[0]}")
            if memory in written:
                self._written[memory], self._read[memory] = now, {}
            else:
                self._read.setdefault(memory, {})[lane.name] = now[1]
        return result
