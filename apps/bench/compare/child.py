"""A program under measurement, as a child: pinned to a processor, heard line by line, ended by its own id."""

import ctypes
import os
import select
import signal
import subprocess
import tempfile
import time

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1
END_SECONDS = 3  # from SIGTERM to SIGKILL
GRACE_SECONDS = 0.3  # from the end of a server's connections to its own


class Broken(Exception):
    """A program that died, hung or talked nonsense. Its text is the rest of a sentence about `side`."""

    def __init__(self, side, what):
        super().__init__(what)
        self.side = side


class Child:
    def __init__(self, side, command, core):
        self.side = side
        self._said = b''  # what was read and is not yet a whole line
        self._last_line = ''
        self._errors = tempfile.TemporaryFile()

        def before_it_begins():
            os.sched_setaffinity(0, {core})
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # it never outlives this driver

        try:
            # In a session of its own, so that Ctrl-C is a matter of the driver.
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                             stderr=self._errors, bufsize=0, start_new_session=True,
                                             preexec_fn=before_it_begins)
        except OSError as error:
            self._errors.close()
            raise Broken(side, f'could not be started: {error.strerror}') from None
        self.pid = self._process.pid
        self._ended = os.pidfd_open(self.pid)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        os.close(self._ended)
        self._process.stdin.close()
        self._process.stdout.close()
        self._errors.close()

    def expect(self, word, seconds, beside=None):
        """What follows `word` in the next line; the program `beside` must not end meanwhile."""
        line = self._line(word, time.monotonic() + seconds, seconds, beside)
        if line.split(' ', 1)[0] != word:
            raise Broken(self.side, f'said something else when {word} was due; {self._printed(line)}')
        return line[len(word):].strip()

    def go_on(self):
        try:
            self._process.stdin.write(b'\n')
        except OSError:
            pass  # it has ended, which is noticed when its next line is due

    def signal(self, number):
        self._process.send_signal(number)

    def cpu_seconds(self):
        """The processor time that all its threads have used."""
        try:
            return time.clock_gettime(~self.pid << 3 | 2)  # Linux's number for the clock of a process
        except OSError:
            raise self._died('its time') from None

    def resident_kib(self):
        try:
            with open(f'/proc/{self.pid}/smaps_rollup', encoding='ascii') as rollup:
                return next(int(line.split()[1]) for line in rollup if line.startswith('Rss:'))
        except (OSError, StopIteration):
            raise self._died('its time') from None

    def wait_for_end(self, seconds):
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Broken(self.side, f'did not end within {seconds} s; {self._printed()}') from None

    def wait_until_idle(self, seconds):
        """Waits until it has used no processor for a moment; at most so long."""
        end, before = time.monotonic() + seconds, -1.0
        while time.monotonic() < end and (now := self.cpu_seconds()) != before:
            before = now
            time.sleep(0.1)

    def _line(self, word, end, seconds, beside):
        poll = select.poll()
        poll.register(self._process.stdout, select.POLLIN)
        if beside is not None:
            poll.register(beside._ended, select.POLLIN)
        while b'\n' not in self._said:
            ready = [fd for fd, _ in poll.poll(max(0, end - time.monotonic()) * 1000)]
            if self._process.stdout.fileno() in ready:
                data = os.read(self._process.stdout.fileno(), 65536)
                if not data:
                    # A client that loses its server ends, too; the server is to blame then.
                    raise (beside if beside and beside._has_ended() else self)._died(word)
                self._said += data
            elif ready:
                raise beside._died(word)
            else:
                raise Broken(self.side, f'hung: {word} was due within {seconds:g} s; {self._printed()}')
        line, _, self._said = self._said.partition(b'\n')
        self._last_line = line.decode(errors='replace').strip()
        return self._last_line

    def _has_ended(self):
        """Whether it has, or is about to."""
        ended = select.poll()
        ended.register(self._ended, select.POLLIN)
        return bool(ended.poll(GRACE_SECONDS * 1000))

    def _died(self, when):
        """It has ended, or has closed its output and is about to end, before what was due."""
        try:
            code = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return Broken(self.side, f'closed its output before {when}; {self._printed()}')
        how = f'with exit code {code}' if code >= 0 else f'by {signal.Signals(-code).name}'
        return Broken(self.side, f'ended {how} before {when}; {self._printed()}')

    def _printed(self, line=None):
        """The last that it printed: what is wrong is most often said on standard error."""
        self._errors.seek(0)
        errors = self._errors.read().decode(errors='replace').split('\n')
        said = [*(text.strip() for text in errors), self._said.decode(errors='replace').strip()]
        said = [text for text in said if text] or [line or self._last_line]
        return f'it printed: {said[-1][:200]}' if said[-1] else 'it printed nothing'
