"""How far it is, on standard error: a bar with the time left on a terminal, otherwise a line for each run."""

import os
import sys
import time

GREEN, RED, PLAIN = '\x1b[32m', '\x1b[31m', '\x1b[0m'


def duration(seconds):
    seconds = round(seconds)
    return f'{seconds} s' if seconds < 100 else f'{seconds / 60:.0f} min'


class Progress:
    """Of runs that take so many seconds each, as far as is known beforehand: a list of (kind, seconds)."""

    def __init__(self, planned, stream=sys.stderr):
        self._stream = stream
        self._planned = list(planned)
        self._took = {}
        self._done = 0
        self._now = ''
        self._began = time.monotonic()
        self.is_bar = stream.isatty() and os.environ.get('TERM', 'dumb') != 'dumb'
        self._colours = self.is_bar and not os.environ.get('NO_COLOR')

    def begin(self, what):
        self._now, self._began = what, time.monotonic()
        self._draw()

    def finish(self, sentence):
        """The run that began has ended, and this is what to tell of it where there is no bar."""
        kind, _ = self._planned[self._done]
        self._took.setdefault(kind, []).append(time.monotonic() - self._began)
        self._done += 1
        if not self.is_bar and sentence:
            print(f'{self._done}/{len(self._planned)} {sentence}', file=self._stream, flush=True)
        self._draw()

    def skip(self):
        """A run is left out."""
        del self._planned[self._done]

    def complain(self, sentence):
        self.clear()
        print(self._coloured(RED, f'bench: {sentence}'), file=self._stream, flush=True)
        self._draw()

    def clear(self):
        if self.is_bar:
            print('\r\x1b[K', end='', file=self._stream, flush=True)

    def _seconds_left(self):
        def expected(kind, seconds):
            took = self._took.get(kind)
            return sum(took) / len(took) if took else seconds
        return sum(expected(*run) for run in self._planned[self._done:])

    def _draw(self):
        if not self.is_bar or not self._planned:
            return
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns or 80
        except OSError:
            columns = 80
        part = self._done / len(self._planned)
        said = f' {self._done}/{len(self._planned)}  {duration(self._seconds_left())} left  {self._now}'
        width = max(10, min(30, columns - len(said) - 4))
        full = round(part * width)
        said = said[:max(0, columns - width - 3)]
        shown = self._coloured(GREEN, '█' * full) + '░' * (width - full)
        print(f'\r\x1b[K{shown}{said}', end='', file=self._stream, flush=True)

    def _coloured(self, colour, words):
        return f'{colour}{words}{PLAIN}' if self._colours else words
