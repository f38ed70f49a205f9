#!/usr/bin/env python3
"""Draws what `sim_storm --csv FILE` wrote, as an SVG on stdout: attempts and successes a second, the outage shaded.

Example: plot.py storm.csv > storm.svg
"""

import argparse
import csv
import sys
from xml.sax.saxutils import escape

WIDTH, MARGIN = 860, 24
LEFT, RIGHT = MARGIN + 58, WIDTH - MARGIN - 112  # of the axis of time; lines are named to the right of it
PANEL, HEADING, GAP, AXIS = 200, 26, 16, 44

RUNS = {'unlimited': 'no budget', 'budget': 'with a budget'}  # drawn in this order

STYLE = """
    text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 13px;
           fill: #1f2328 }
    .title { font-size: 19px; font-weight: 600 }
    .heading { font-size: 14px; font-weight: 600 }
    .small { font-size: 12px; fill: #59636e }
    .back { fill: #ffffff }
    .outage { fill: #f3d9d6 }
    .grid { stroke: #d5dae0; stroke-width: 1 }
    .capacity { stroke: #59636e; stroke-width: 1.5; stroke-dasharray: 4 3 }
    .run { fill: none; stroke-width: 2; stroke-linejoin: round }
    .line-unlimited { stroke: #b3261e }
    .line-budget { stroke: #1a6fb5; stroke-width: 2.5 }
    .name-unlimited { fill: #b3261e; font-weight: 600 }
    .name-budget { fill: #1a6fb5; font-weight: 600 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .small { fill: #9aa4af }
      .back { fill: #0d1117 }
      .outage { fill: #3a2022 }
      .grid { stroke: #2d343d }
      .capacity { stroke: #9aa4af }
      .line-unlimited { stroke: #f2857b }
      .line-budget { stroke: #6cb6f5 }
      .name-unlimited { fill: #f2857b }
      .name-budget { fill: #6cb6f5 }
    }
"""


class Storm:
    """Both runs, as far as requests were begun."""

    def __init__(self, rows):
        rows = [row for row in rows if row['phase'] != 'end']
        self.clients, self.capacity = int(rows[0]['clients']), int(rows[0]['capacity'])
        self.seconds = 1 + max(int(row['second']) for row in rows)
        outage = [int(row['second']) for row in rows if row['phase'] == 'outage']
        self.outage = min(outage), max(outage) + 1
        self._rows = {run: sorted((row for row in rows if row['run'] == run), key=lambda row: int(row['second']))
                      for run in RUNS}

    def series(self, run, column):
        return [int(row[column]) for row in self._rows[run]]


def element(name, content=None, **attributes):
    written = ''.join(f' {key.replace("_", "-")}="{escape(str(value), {chr(34): "&quot;"})}"'
                      for key, value in attributes.items())
    return f'<{name}{written}/>' if content is None else f'<{name}{written}>{content}</{name}>'


def text(x, y, words, kind=None, **attributes):
    if kind:
        attributes['class'] = kind
    return element('text', escape(words), x=f'{x:.1f}', y=f'{y:.1f}', **attributes)


def line(x1, y1, x2, y2, kind):
    return element('line', x1=f'{x1:.1f}', y1=f'{y1:.1f}', x2=f'{x2:.1f}', y2=f'{y2:.1f}', **{'class': kind})


def step_for(most, ticks):
    """A round step, at most so many of which make the whole."""
    step = 1
    while True:
        for times in (1, 2, 5):
            if most / (step * times) <= ticks:
                return step * times
        step *= 10


def seconds_between_ticks(length):
    return next((s for s in (1, 2, 5, 10, 15, 30, 60, 120, 300) if length / s <= 8), 600)


def panel(storm, column, heading, top, with_capacity):
    """One quantity of both runs: its lines of SVG, and where it ends."""
    upper, lower = top + HEADING, top + HEADING + PANEL
    most = max([max(storm.series(run, column)) for run in RUNS] + [storm.capacity if with_capacity else 1])
    step = step_for(most, 5)
    end = step * -(-most // step)
    room = upper + 14  # above the greatest value, for a word

    def x(second):
        return LEFT + (RIGHT - LEFT) * second / storm.seconds

    def y(value):
        return lower - (lower - room) * value / end

    parts = [text(MARGIN, top + 12, heading, 'heading'),
             element('rect', x=f'{x(storm.outage[0]):.1f}', y=f'{upper:.1f}', height=f'{lower - upper:.1f}',
                     width=f'{x(storm.outage[1]) - x(storm.outage[0]):.1f}', **{'class': 'outage'}),
             text(x(sum(storm.outage) / 2), upper + 11, 'outage', 'small', text_anchor='middle')]
    for value in range(0, end + 1, step):
        parts += [line(LEFT, y(value), RIGHT, y(value), 'grid'),
                  text(LEFT - 8, y(value) + 4, f'{value:,}', 'small', text_anchor='end')]
    for second in range(0, storm.seconds + 1, seconds_between_ticks(storm.seconds)):
        parts += [line(x(second), lower, x(second), lower + 5, 'grid'),
                  text(x(second), lower + 18, str(second), 'small', text_anchor='middle')]
    parts.append(text((LEFT + RIGHT) / 2, lower + 34, 'time, s', 'small', text_anchor='middle'))
    if with_capacity:
        parts += [line(LEFT, y(storm.capacity), RIGHT, y(storm.capacity), 'capacity'),
                  text(RIGHT + 8, y(storm.capacity) - 2, 'server’s limit', 'small')]
    for run, name in RUNS.items():
        values = storm.series(run, column)
        steps = ''.join(f'{"V" if i else f"M{LEFT:.1f} "}{y(value):.1f}H{x(i + 1):.1f}'
                        for i, value in enumerate(values))
        below = 12 if with_capacity and run == 'budget' else 4
        parts += [element('path', d=steps, **{'class': f'run line-{run}'}),
                  text(RIGHT + 8, y(values[-2]) + below, name, f'name-{run}')]
    return parts, lower + AXIS


def svg(storm):
    title = 'A retry storm, with and without a retry budget'
    note = (f'{storm.clients:,} clients ask twice a second each. '
            f'The server gets {storm.capacity:,} attempts a second done; '
            f'from second {storm.outage[0]} to {storm.outage[1]} it fails everything.')
    parts = [text(MARGIN, 34, title, 'title'), text(MARGIN, 56, note, 'small')]
    attempts, end = panel(storm, 'attempts', 'Attempts begun, per second (each request has at least one)', 78,
                          with_capacity=True)
    succeeded, end = panel(storm, 'succeeded', 'Requests that succeed, per second (in which they begin)', end + GAP,
                           with_capacity=False)
    height = end + 6
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
            f'viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-labelledby="title">')
    return '\n'.join([head, element('title', escape(title), id='title'), element('style', STYLE),
                      element('rect', width='100%', height='100%', **{'class': 'back'}), *parts, *attempts, *succeeded,
                      '</svg>', ''])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('csv', metavar='CSV', help='what `sim_storm --csv` wrote')
    given = parser.parse_args()
    try:
        with open(given.csv, newline='', encoding='utf-8') as file:
            storm = Storm(list(csv.DictReader(file)))
        drawn = svg(storm)
    except OSError as error:
        parser.error(f'{given.csv}: {error.strerror}')
    except (KeyError, ValueError, IndexError):
        parser.error(f'{given.csv} is not what `sim_storm --csv` writes')
    sys.stdout.write(drawn)


if __name__ == '__main__':
    main()
