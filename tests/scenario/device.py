"""A toggled device for the tests: an asyncio server with its own, independent reading of the framing.

A frame is F0 0D, the version 01, the payload's length (unsigned, 32 bits, big-endian), and the payload, a JSON object.
"""

import asyncio
import json
import os
import socket
import struct
import threading
import time

MAGIC = b'\xf0\x0d'
HEADER_BYTES = 7
MODES = ('ok', 'delay', 'disconnect', 'reject', 'timeout', 'nack', 'nack_retryable', 'garbage', 'unframed', 'partial',
         'wrong_id', 'duplicate')


class NotAFrame(Exception):
    pass


def frame(message):
    """The bytes of a message: of a dict as JSON, of bytes as they are."""
    payload = message if isinstance(message, bytes) else json.dumps(message, separators=(',', ':')).encode()
    return MAGIC + b'\x01' + struct.pack('>I', len(payload)) + payload


def take_frame(data):
    """(payload, rest) of the first frame in `data`, or (None, data) if it is not whole."""
    for at, right in enumerate(MAGIC + b'\x01'):
        if len(data) > at and data[at] != right:
            raise NotAFrame(f'byte {at} is {data[at]:02x}, not {right:02x}: {bytes(data[:40])!r}')
    if len(data) < HEADER_BYTES:
        return None, data
    (size,) = struct.unpack('>I', data[3:HEADER_BYTES])
    if len(data) < HEADER_BYTES + size:
        return None, data
    return data[HEADER_BYTES:HEADER_BYTES + size], data[HEADER_BYTES + size:]


def messages_of(data):
    """All messages of `data`, which must be whole frames."""
    found = []
    while data:
        payload, data = take_frame(data)
        if payload is None:
            raise NotAFrame(f'ends within a frame: {bytes(data[:40])!r}')
        found.append(json.loads(payload))
    return found


class Connection:
    """What happened on one connection. Times are of the monotonic clock, in seconds."""

    def __init__(self, mode):
        self.mode = mode
        self.opened = time.monotonic()
        self.closed = None  # when the device closed it, or saw that the other side did
        self.acted = None  # just before the device answered or closed, whichever it did first
        self.received = b''
        self.messages = []
        self.error = None


class Device:
    """Serves on a free loopback port. `script` names a mode for each connection; the last one stays.

    A mode is one of MODES, or the bytes to answer with, or a function from the request to the bytes.
    """

    def __init__(self, *script, host='127.0.0.1', delay=0.3, extra=None):
        self.script = script or ('ok',)
        self.host = host
        self.port = None
        self.delay = delay
        self.extra = extra or {}  # more fields for every answer
        self.states = {}
        self.connections = []
        self._changed = threading.Condition()
        self._writers = set()
        self._tasks = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        family = socket.AF_INET6 if ':' in self.host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((self.host, 0))
        listening.listen(16)
        self.port = listening.getsockname()[1]
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, sock=listening))
        self._thread.start()
        return self

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def stop_listening(self):
        """From now on connections are refused; those that are open stay so."""
        async def stop():
            self._server.close()
        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(10)

    def wait_for(self, condition, what, seconds=20):
        """Waits until `condition()` holds."""
        with self._changed:
            if not self._changed.wait_for(condition, seconds):
                raise AssertionError(f'the device waited {seconds} s in vain for: {what}')

    def wait_for_requests(self, count, seconds=20):
        self.wait_for(lambda: sum(len(c.messages) for c in self.connections) >= count, f'{count} requests', seconds)

    @property
    def requests(self):
        return [m for c in self.connections for m in c.messages]

    def _run(self):
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _close(self):
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _note(self, change):
        with self._changed:
            change()
            self._changed.notify_all()

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        self._writers.add(writer)
        c = Connection(self.script[min(len(self.connections), len(self.script) - 1)])
        self._note(lambda: self.connections.append(c))
        try:
            await self._speak(c, reader, writer)
        except OSError:
            pass  # the other side went away
        except (NotAFrame, ValueError, KeyError) as e:
            c.error = repr(e)
        except asyncio.CancelledError:
            pass
        finally:
            c.acted = c.acted or time.monotonic()
            self._note(lambda: setattr(c, 'closed', time.monotonic()))
            writer.close()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _speak(self, c, reader, writer):
        if c.mode == 'reject':
            return
        unread = b''
        while data := await reader.read(65536):
            c.received += data
            unread += data
            while True:
                payload, unread = take_frame(unread)
                if payload is None:
                    break
                message = json.loads(payload)
                self._note(lambda m=message: c.messages.append(m))
                if not await self._answer(c, message, writer):
                    return

    async def _answer(self, c, request, writer):
        """Whether the connection stays open."""
        mode = c.mode
        if mode == 'disconnect':
            return False
        if mode == 'timeout':
            return True
        if mode == 'delay':
            await asyncio.sleep(self.delay)
        answer = self._bytes(mode, request)
        c.acted = c.acted or time.monotonic()
        if mode == 'drip':
            for at in range(len(answer)):
                writer.write(answer[at:at + 1])
                await writer.drain()
                await asyncio.sleep(0)
        else:
            writer.write(answer)
            await writer.drain()
        return mode != 'partial'

    def _bytes(self, mode, request):
        if isinstance(mode, bytes):
            return mode
        if callable(mode):
            return mode(request)
        if mode == 'unframed':
            return b'ACK'
        if mode == 'garbage':
            return b'\x17' + os.urandom(40)
        if mode in ('nack', 'nack_retryable'):
            return frame(nack(request, 'busy' if mode == 'nack_retryable' else 'no such device',
                              retryable=mode == 'nack_retryable') | self.extra)
        if request['opcode'] == 'toggle':
            self.states[request['device_id']] = request['state']
        answer = frame(ack(request, self.states.get(request['device_id'], False)) | self.extra)
        if mode == 'partial':
            return answer[:len(answer) // 2]
        if mode == 'wrong_id':
            return frame(ack(request | {'msg_id': 'feedfeedfeedfeed'}, True))
        if mode == 'duplicate':
            return answer + answer
        assert mode in ('ok', 'delay', 'drip'), mode
        return answer


def ack(request, state):
    return {'opcode': 'ack', 'device_id': request['device_id'], 'msg_id': request['msg_id'], 'state': state,
            'outcome': 'success'}


def nack(request, reason, retryable):
    return {'opcode': 'nack', 'device_id': request['device_id'], 'msg_id': request['msg_id'], 'outcome': 'error',
            'reason': reason, 'retryable': retryable}


def closed_port():
    """A port that refuses: bound for as long as the socket lives, but not listened on."""
    held = socket.socket()
    held.bind(('127.0.0.1', 0))
    return held, held.getsockname()[1]


class Client:
    """A plain client, to try devices with."""

    def __init__(self, port, host='127.0.0.1', seconds=10):
        self._socket = socket.create_connection((host, port), timeout=seconds)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def send(self, data):
        self._socket.sendall(data)

    def request(self, opcode='toggle', device_id='D', msg_id='0123456789abcdef', **more):
        """Sends a request and returns it."""
        message = {'opcode': opcode, 'device_id': device_id, 'msg_id': msg_id}
        if opcode == 'toggle':
            message['state'] = True
        message |= more
        self.send(frame(message))
        return message

    def read_all(self):
        """Everything until the other side closes."""
        self._socket.shutdown(socket.SHUT_WR)
        return self.read_to_end()

    def read_to_end(self):
        data = b''
        try:
            while more := self._socket.recv(65536):
                data += more
        except ConnectionResetError:
            pass
        return data

    def read_some(self, seconds):
        """What comes within `seconds`, or None if nothing does; b'' is the end."""
        self._socket.settimeout(seconds)
        try:
            return self._socket.recv(65536)
        except TimeoutError:
            return None
        except ConnectionResetError:
            return b''

    def read_message(self):
        data = b''
        while True:
            payload, rest = take_frame(data)
            if payload is not None:
                assert rest == b'', rest
                return json.loads(payload)
            more = self._socket.recv(65536)
            assert more, f'closed after {data!r}'
            data += more
