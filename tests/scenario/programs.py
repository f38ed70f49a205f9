"""Starts the programs under test, reads what they say, and ends them, each by its own id; runs a file's tests at once.

A test file ends with `programs.main()` and is called with the paths of the toggler and the simulator.
"""

import concurrent.futures
import contextlib
import ctypes
import ctypes.util
import fcntl
import functools
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

TOGGLER = SIMULATOR = None
AT_ONCE = 8
LONG = 60  # seconds in which everything has ended, however slow the machine is
PROMPT = 8  # seconds within which a signal ends a program; what it interrupts takes far longer


def clean_environment(**more):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(('DEVICE_', 'CLEAT_'))}
    return kept | more


class Program:
    """A running program. Leaving the `with` block kills it, if it still runs."""

    def __init__(self, command, env=None, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more):
        self.out, self.err = b'', b''
        self._changed = threading.Condition()
        self.started = time.monotonic()
        self.process = subprocess.Popen([str(w) for w in command], env=clean_environment(**(env or {})),
                                        stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, **more)
        self._readers = [threading.Thread(target=self._read, args=(name, pipe), daemon=True)
                         for name, pipe in (('out', self.process.stdout), ('err', self.process.stderr)) if pipe]
        self._open_pipes = len(self._readers)
        for reader in self._readers:
            reader.start()

    def _read(self, name, pipe):
        while data := os.read(pipe.fileno(), 65536):
            with self._changed:
                setattr(self, name, getattr(self, name) + data)
                self._changed.notify_all()
        with self._changed:
            self._open_pipes -= 1
            self._changed.notify_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LONG)
        for reader in self._readers:
            reader.join(LONG)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()

    def signal(self, number):
        self.process.send_signal(number)

    def wait_until_it_sleeps(self):
        """Waits until its first thread waits for something, and it hears signals on another."""
        def status(thread):
            return pathlib.Path(f'/proc/{self.process.pid}/task/{thread}/status').read_text(encoding='ascii')
        for _ in range(LONG * 50):
            first = status(self.process.pid)
            if re.search(r'^Threads:\s+[2-9]', first, re.M) and re.search(r'^State:\s+S', first, re.M):
                switches = re.search(r'^voluntary.*', first, re.M).group()
                time.sleep(0.05)
                if switches in status(self.process.pid):
                    return
            time.sleep(0.02)
        raise AssertionError(f'does not wait for anything\n{self.said()}')

    def finish(self, seconds=LONG):
        """The exit code, after everything that it wrote has been read."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f'did not end within {seconds} s\n{self.said()}') from None
        for reader in self._readers:
            reader.join(LONG)
        self.seconds = time.monotonic() - self.started
        return code

    def said(self):
        return (f'stdout:\n{self.out.decode(errors="replace")}\nstderr:\n{self.err.decode(errors="replace")}\n'
                f'exit code: {self.process.poll()}')

    def wait_until(self, condition, what, seconds=LONG):
        until = time.monotonic() + seconds
        with self._changed:
            while not condition() and not self._over():
                if time.monotonic() > until:
                    raise AssertionError(f'waited {seconds} s in vain for: {what}\n{self.said()}')
                self._changed.wait(0.05)  # what it writes into a file nobody tells
        if not condition():
            raise AssertionError(f'it ended, and there was not: {what}\n{self.said()}')

    def wait_for_record(self, matches, what, seconds=LONG):
        """The first record on stdout, of those there are now or come later, of which `matches(record)` is true."""
        def found():
            return next((r for r in self.records(whole=False) if matches(r)), None)
        self.wait_until(lambda: found() is not None, what, seconds)
        return found()

    def _over(self):
        return self._open_pipes == 0

    def records(self, whole=True):
        """stdout as JSON Lines; with `whole`, it must be nothing but whole lines."""
        return records_of(self.out if whole else self.out[:self.out.rfind(b'\n') + 1])

    def packets(self, direction=None):
        return [r for r in self.records() if r.get('event') == 'tcp_packet' and direction in (None, r['direction'])]

    def retries(self):
        return [r for r in self.records() if 'wait_ms' in r]

    @property
    def err_lines(self):
        return [line for line in self.err.decode().split('\n') if line.strip()]


def records_of(data):
    if data and not data.endswith(b'\n'):
        raise AssertionError(f'ends within a line: {data[-200:]!r}')
    found = []
    for line in data.decode().split('\n')[:-1]:
        try:
            record = json.loads(line)
        except ValueError:
            raise AssertionError(f'not JSON: {line!r}') from None
        if not isinstance(record, dict):
            raise AssertionError(f'not a JSON object: {line!r}')
        found.append(record)
    return found


def start(*arguments, port=None, host='127.0.0.1', name='DEVICE123', metrics=False, env=None, **more):
    """The toggler, with the arguments that it needs for a device on `port`, and without an endpoint unless `metrics`."""
    command = [TOGGLER]
    if port is not None:
        command += ['--device-id', name, '--device-host', host, '--device-port', port]
        if '--connect-timeout' not in arguments:
            command += ['--connect-timeout', '30s']  # the default would be short for a machine that is busy
    if not metrics:
        command.append('--no-metrics')
    return Program([*command, *arguments], env=env, **more)


def run(*arguments, **more):
    """The toggler, run to its end; `code` is how it ended."""
    with start(*arguments, **more) as program:
        program.code = program.finish()
        return program


def run_as_given(*arguments):
    """The same with these arguments and no others."""
    with Program([TOGGLER, *arguments]) as program:
        program.code = program.finish()
        return program


class Scenario(unittest.TestCase):
    """A test that may run at the same time as others of its file."""

    longMessage = True

    def code(self, program, expected):
        self.assertEqual(program.code, expected, f'\n{program.said()}')

    def one_sentence(self, program, *words):
        """stderr is one sentence with these words (regular expressions), and stdout is empty."""
        self.assertEqual(len(program.err_lines), 1, f'\n{program.said()}')
        for word in words:
            self.assertRegex(program.err_lines[0], word)
        self.assertEqual(program.out, b'', f'\n{program.said()}')

    def assert_steers_no_terminal(self, program):
        """Nothing that it says holds a control character, turns the text round or is not UTF-8."""
        for line in (program.out + program.err).split(b'\n'):
            self.assertNotRegex(line.decode(), STEERS_TERMINAL, f'\n{program.said()}')

    def folder(self):
        made = tempfile.TemporaryDirectory(prefix='cleat')
        self.addCleanup(made.cleanup)
        return pathlib.Path(made.name)


class Result(unittest.TestResult):
    def __init__(self, say):
        super().__init__()
        self.say = say

    def startTest(self, test):
        super().startTest(test)
        test.began = time.monotonic()

    def _told(self, test, how, why=''):
        name = test.id().split('.', 1)[-1]
        took = time.monotonic() - getattr(test, 'began', time.monotonic())
        self.say(f'{how:<4} {took:5.1f} s  {name.replace("test_", "").replace("_", " ")}{why}')

    def addSuccess(self, test):
        self._told(test, 'ok')

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._told(test, 'skip', f' ({reason})')

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._told(test, 'FAIL')

    def addError(self, test, err):
        super().addError(test, err)
        self._told(test, 'FAIL')

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.say(f'FAIL {subtest.id()}')


def flat(suite):
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from flat(each)
        else:
            yield each


def main():
    """Runs the tests of the calling file, several at a time. Arguments: TOGGLER SIMULATOR [a word of the names]…"""
    global TOGGLER, SIMULATOR
    TOGGLER, SIMULATOR = (pathlib.Path(p).resolve() for p in sys.argv[1:3])
    # Whoever started this may ignore them (nohup, `&` in a script), and the programs would inherit that.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    wanted = sys.argv[3:]
    # A test file imports this module by its name; as it is itself `__main__`, look there for the tests.
    tests = [t for t in flat(unittest.defaultTestLoader.loadTestsFromModule(sys.modules['__main__']))
             if not wanted or any(w in t.id() for w in wanted)]
    lock = threading.Lock()

    def say(line):
        with lock:
            print(line, flush=True)

    def one(test):
        result = Result(say)
        test.run(result)
        return result
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(one, tests))
    wrong = [w for r in results for w in r.failures + r.errors]
    for test, trace in wrong:
        print(f'\n{"=" * 100}\n{test.id()}\n{trace}')
    failed = sum(bool(r.failures or r.errors) for r in results)
    skipped = sum(bool(r.skipped) for r in results)
    print(f'{len(tests) - failed - skipped} passed, {failed} failed, {skipped} skipped')
    sys.exit(1 if wrong else 0)


# A world of its own for a test: network and mounts that nobody else sees. Needs to be root.

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
SIOCSIFFLAGS, IFF_UP_RUNNING = 0x8914, 0x41
libc = ctypes.CDLL(ctypes.util.find_library('c') or 'libc.so.6', use_errno=True)


class NotPermitted(Exception):
    pass


def _system(done, what):
    if done != 0:
        raise NotPermitted(f'{what}: {os.strerror(ctypes.get_errno())}')


def bind_mount(content, over):
    """Shows a file with this content in the place of `over`, to this world only."""
    with tempfile.NamedTemporaryFile('w', prefix='cleat') as file:
        file.write(content)
        file.flush()
        os.chmod(file.name, 0o644)
        _system(libc.mount(file.name.encode(), over.encode(), None, MS_BIND, None), f'cannot mount over {over}')


def small_disk(folder, size):
    """A disk of that many bytes at `folder`, in this world only."""
    _system(libc.mount(b'tmpfs', str(folder).encode(), b'tmpfs', 0, f'size={size}'.encode()),
            f'cannot mount a small disk at {folder}')


def leave_the_world():
    _system(libc.unshare(CLONE_NEWNS | CLONE_NEWNET), 'cannot have namespaces')
    _system(libc.mount(None, b'/', None, MS_REC | MS_PRIVATE, None), 'cannot make mounts private')
    with socket.socket() as s:
        try:
            fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack('16sh14x', b'lo', IFF_UP_RUNNING))
        except OSError as e:
            raise NotPermitted(f'cannot switch on the loopback interface: {e}') from None


def apart(test):
    """Runs a test in a thread with a network (loopback only) and mounts of its own, which its children inherit."""
    @functools.wraps(test)
    def wrapped(self):
        caught = []

        def body():
            try:
                leave_the_world()
                test(self)
            except NotPermitted as e:
                caught.append(unittest.SkipTest(f'needs to be root, with namespaces: {e}'))
            except BaseException as e:  # pylint: disable=broad-except
                caught.append(e)
        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        if caught:
            raise caught[0]
    return wrapped


@contextlib.contextmanager
def full_pipe():
    """The writing end of a pipe that takes nothing more, and that nobody reads."""
    reading, writing = os.pipe()
    try:
        os.set_blocking(writing, False)
        for size in (4096, 1):
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(writing, b'x' * size)
        os.set_blocking(writing, True)
        yield writing
    finally:
        os.close(reading)
        os.close(writing)


def silent_dns():
    """A name server that hears every question and answers none; this world's resolver asks it. (socket)"""
    mute = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    mute.bind(('127.0.0.153', 53))
    mute.settimeout(LONG)
    if not pathlib.Path('/etc/resolv.conf').exists():
        mute.close()
        raise unittest.SkipTest('there is no /etc/resolv.conf to put another in the place of')
    bind_mount('nameserver 127.0.0.153\noptions timeout:30 attempts:5\n', '/etc/resolv.conf')
    return mute


def deaf(address, port=0):
    """A port where a connection is neither accepted nor refused: its queue is full. (port, what keeps it so)"""
    listening = socket.socket()
    listening.bind((address, port))
    listening.listen(0)
    kept = [listening]
    for _ in range(20):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex((address, listening.getsockname()[1]))
        kept.append(s)
    time.sleep(0.05)
    with socket.socket() as probe:
        probe.settimeout(0.3)
        if probe.connect_ex(listening.getsockname()) == 0:
            raise unittest.SkipTest('this system accepts connections beyond the queue')
    return listening.getsockname()[1], kept


def promtool():
    """Where promtool is: in the path, or where scripts/setup puts it."""
    places = os.environ.get('PATH', '').split(':') + [str(pathlib.Path(__file__).parents[2] / 'build' / 'tools')]
    return next((p for p in (pathlib.Path(d) / 'promtool' for d in places) if os.access(p, os.X_OK)), None)


STEERS_TERMINAL = re.compile('[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]')
HEX16 = re.compile(r'[0-9a-f]{16}')
SIGNALS = {signal.SIGINT: -signal.SIGINT, signal.SIGTERM: 143}  # of SIGINT a program dies
