"""What can be measured: the workloads, how stacks are paired, and the programs of each stack."""

import dataclasses
import pathlib


@dataclasses.dataclass(frozen=True)
class Workload:
    name: str
    title: str
    options: tuple  # of the client
    connections: int = 1
    by_time: bool = False  # compared by the time of a request, not by how many a processor can do


WORKLOADS = {w.name: w for w in (
    Workload('W1', '1 connection, 1 request in flight', (), by_time=True),
    Workload('W2', '64 connections, 1 request in flight each', ('--conns', '64'), 64),
    Workload('W3', '1 connection, 128 requests in flight', ('--window', '128')),
    Workload('W4', '5,000 connections, 250 of them active', ('--conns', '5000', '--active', '250'), 5000),
    Workload('W5', 'connect, one request, close', ('--w5', '--maxreq', '12000'), by_time=True),
)}

PAIRS = {
    'own': 'own client and server',
    'server': "each stack's client, against the server of limit",
    'client': "each stack's server, against the client of limit",
}
BASE = 'limit'


@dataclasses.dataclass(frozen=True)
class Stack:
    name: str
    server: tuple  # the command, to which the port is added
    client: tuple
    picks_port: bool = True  # its server takes port 0 and says which it got
    counting: tuple = ()  # server and client that count allocations, if there are
    server_of: str = ''  # the stack that has the same server
    spins: bool = False

    def is_in(self, pairs):
        """Whether to measure it so would say something new."""
        return pairs == 'own' or not (self.spins or (pairs == 'client' and self.server_of))

    def missing(self):
        return [c[0] for c in (self.server, self.client) if not pathlib.Path(c[0]).exists()]


def in_repository(programs):
    """The stacks that scripts/bench builds, in the folder `programs`."""
    def stack(name, program, *options, **more):
        server, client = ((str(programs / program), role, *options) for role in ('server', 'client'))
        return Stack(name, server, client, counting=(server, client), **more)

    limit, asio, cleat = 'peers/bench-limit', 'peers/bench-asio', 'bench'
    return [
        stack('limit', limit),
        stack('asio', asio),
        stack('cleat', cleat),
        stack('cleat-bare', cleat, '--layers', 'none'),
        stack('cleat-three', cleat, '--layers', 'three'),
        stack('cleat-six', cleat, '--layers', 'six'),
        stack('cleat-spin', cleat, '--spin', spins=True),
        stack('limit-spin', limit, '--spin', spins=True),
    ]


PEERS = ('tokio', 'tower', 'b2', 'b4', 'go')


def in_folder(peers):
    """The stacks that a built folder of peers can have; without a folder, none."""
    if peers is None:
        return []
    programs = peers / 'bin'

    def stack(name, program, server=(), client=(), counts=False, **more):
        def both(suffix=''):
            return ((str(programs / f'{program}_server{suffix}'), *server),
                    (str(programs / f'{program}_client{suffix}'), *client))
        counting = both('_cnt') if counts else ()
        if not all(pathlib.Path(command[0]).exists() for command in counting):
            counting = ()
        return Stack(name, *both(), picks_port=False, counting=counting, **more)

    tuned = ('--variant', 'b3', '--codec', 'typed')
    return [
        stack('tokio', 'tokio'),
        stack('tower', 'tokio', client=('--tower',), server_of='tokio'),
        stack('b2', 'asio', client=('--variant', 'b2'), counts=True),
        stack('b4', 'asio', tuned, tuned, counts=True),
        stack('go', 'go'),
    ]


DEFAULT = ('limit', 'asio', 'cleat', 'cleat-bare')
