"""The ratios to the limit as a plot: one panel a workload, one bar a stack, as an SVG that carries all it needs."""

import math
from xml.sax.saxutils import escape

import report
from stacks import BASE, PAIRS

WIDTH = 860
NAMES = 130  # where the axis begins: names of the stacks stand to the left
VALUES = 150  # room for the figures, to the right of the axis
MARGIN = 24
BAR, PITCH = 14, 24
HEADING, AXIS, GAP = 26, 36, 18

STYLE = """
    text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 13px;
           fill: #1f2328 }
    .title { font-size: 19px; font-weight: 600 }
    .heading { font-size: 14px; font-weight: 600 }
    .small { font-size: 12px; fill: #59636e }
    .ours { font-weight: 600 }
    .back { fill: #ffffff }
    .grid { stroke: #d5dae0; stroke-width: 1 }
    .limit { stroke: #59636e; stroke-width: 1.5; stroke-dasharray: 4 3 }
    .bar-limit { fill: #8c959f }
    .bar-peer { fill: #6ca5d9 }
    .bar-ours { fill: #d9822b }
    .whisker { stroke: #1f2328; stroke-width: 1.5; fill: none }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .small { fill: #9aa4af }
      .back { fill: #0d1117 }
      .grid { stroke: #2d343d }
      .limit { stroke: #9aa4af }
      .bar-limit { fill: #6e7681 }
      .bar-peer { fill: #3d78ad }
      .bar-ours { fill: #c26d1a }
      .whisker { stroke: #e6edf3 }
    }
"""


class Scale:
    """From ratios to places on the axis. Where the greatest is many times the least, it is logarithmic."""

    def __init__(self, values, left, right):
        least, most = min(values), max([*values, 1.0])
        self.is_log = most / least > 8
        self._left, self._right = left, right
        if self.is_log:
            self._from, self._to = math.log10(least * 0.7), math.log10(most * 1.1)
            decades = range(math.floor(self._from), math.ceil(self._to) + 1)
            steps = (1, 2, 5) if self._to - self._from < 2.2 else (1,)
            ticks = [step * 10.0 ** decade for decade in decades for step in steps]
        else:
            self._from, self._to = 0.0, most * 1.06
            step = 0.2 if most < 1.6 else 0.5 if most < 4 else 1.0
            ticks = [i * step for i in range(math.ceil(self._to / step) + 1)]
        self.ticks = [t for t in ticks if left <= self.at(t) <= right]

    def at(self, ratio):
        place = (math.log10(ratio) if ratio > 0 else -math.inf) if self.is_log else ratio
        return self._left + (self._right - self._left) * (place - self._from) / (self._to - self._from)


def element(name, content=None, **attributes):
    written = ''.join(f' {key.replace("_", "-")}="{escape(str(value), {chr(34): "&quot;"})}"'
                      for key, value in attributes.items())
    return f'<{name}{written}/>' if content is None else f'<{name}{written}>{content}</{name}>'


def text(x, y, words, **attributes):
    return element('text', escape(words), x=f'{x:.1f}', y=f'{y:.1f}', **attributes)


def line(x1, y1, x2, y2, kind):
    return element('line', x1=f'{x1:.1f}', y1=f'{y1:.1f}', x2=f'{x2:.1f}', y2=f'{y2:.1f}', **{'class': kind})


def kind_of(stack):
    return 'limit' if stack.startswith(BASE) else 'ours' if stack.startswith('cleat') else 'peer'


def bar(scale, left, y, stack, speed):
    """A stack's name, bar, whiskers and figures, in the row whose middle is `y`."""
    kind = kind_of(stack)
    said = report.with_spread(speed)
    end, low, high = scale.at(speed.median), scale.at(speed.least), scale.at(speed.most)
    parts = [element('title', escape(f'{stack}: {said}, {speed.rounds} rounds')),
             text(left - 8, y + 4.5, stack, text_anchor='end', **({'class': 'ours'} if kind == 'ours' else {})),
             element('rect', x=f'{left:.1f}', y=f'{y - BAR / 2:.1f}', width=f'{max(end - left, 1):.1f}', height=BAR,
                     **{'class': f'bar-{kind}'})]
    if speed.least != speed.most:
        ends = f'M{low:.1f} {y - 4:.1f}v8M{high:.1f} {y - 4:.1f}v8'
        parts.append(element('path', d=f'M{low:.1f} {y:.1f}H{high:.1f}{ends}', **{'class': 'whisker'}))
    parts.append(text(WIDTH - MARGIN, y + 4.5, said, text_anchor='end'))
    return element('g', ''.join(parts))


def panel(group, top):
    """One workload: its lines of SVG, and where it ends."""
    found = [(stack, speed) for stack in group.stacks if (speed := group.speed(stack))]
    left, right = MARGIN + NAMES, WIDTH - MARGIN - VALUES
    scale = Scale([v for _, s in found for v in (s.least, s.most)], left, right)
    rows, bottom = top + HEADING, top + HEADING + PITCH * len(found)
    measure = 'by the time of a request, p50' if group.workload.by_time else 'by requests/s of CPU'
    heading = f'{group.workload.name}: {group.workload.title}; {measure}'
    parts = [text(MARGIN, top + 14, heading, **{'class': 'heading'})]
    for tick in scale.ticks:
        parts.append(line(scale.at(tick), rows, scale.at(tick), bottom, 'grid'))
        parts.append(text(scale.at(tick), bottom + 14, f'{tick:g}' if scale.is_log else f'{tick:.1f}',
                          text_anchor='middle', **{'class': 'small'}))
    parts += [bar(scale, left, rows + PITCH * (i + 0.5), *entry) for i, entry in enumerate(found)]
    parts.append(line(scale.at(1), rows - 4, scale.at(1), bottom, 'limit'))
    label = f'speed, as a multiple of {BASE}' + (', logarithmic' if scale.is_log else '') + '; higher is better →'
    parts.append(text((left + right) / 2, bottom + 29, label, text_anchor='middle', **{'class': 'small'}))
    return parts, bottom + AXIS


def svg(runs, pairs):
    """The plot of one kind of pairs, or None if nothing can be compared with the limit."""
    shown = [g for g in report.groups(runs)
             if g.pairs == pairs and any(s != BASE and g.ratio(s) for s in g.stacks)]
    if not shown:
        return None
    title = f'Speed beside the limit: {PAIRS[pairs]}'
    notes = ['Bars: the median of the ratios to the limit in the same round. Whiskers: the least and the greatest. '
             'Higher is better.',
             f'{BASE} sends and receives preformatted bytes and does nothing else: what the kernel allows.']
    parts = [text(MARGIN, 34, title, **{'class': 'title'})]
    parts += [text(MARGIN, 56 + 17 * i, note, **{'class': 'small'}) for i, note in enumerate(notes)]
    y = 56 + 17 * len(notes) + 8
    for group in shown:
        lines, end = panel(group, y)
        parts += lines
        y = end + GAP
    parts.append(text(MARGIN, y, report.origin([r for r in runs if r['pairs'] == pairs]), **{'class': 'small'}))
    height = y + 16
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
            f'viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-labelledby="title">')
    return '\n'.join([head, element('title', escape(title), id='title'), element('style', STYLE),
                      element('rect', width='100%', height='100%', **{'class': 'back'}), *parts, '</svg>', ''])
