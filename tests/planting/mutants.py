"""Small changes to C++ that a test should notice: operators, bounds and statements, found with a tokenizer of its own.

It relies on how clang-format writes: a space stands before `<` where it compares, and on both sides of a binary
operator. What it takes for code and is not, the compiler refuses, and then it does not count.
"""

import bisect
import hashlib
import pathlib
import re

FOLDERS = ('lib/cleat/base', 'lib/cleat/middleware', 'lib/cleat/session')

_TOKEN = re.compile(r'''
    (?P<space>(?:\s|//[^\n]*|/\*.*?\*/)+)
  | (?P<line>\#(?:[^\n\\]|\\.)*)
  | (?P<text>(?:u8|[uUL])?R"(?P<delimiter>[^()\s\\]*)\(.*?\)(?P=delimiter)"|(?:u8|[uUL])?"(?:[^"\\\n]|\\.)*"\w*
      |(?:u8|[uUL])?'(?:[^'\\\n]|\\.)+')
  | (?P<number>(?:0[xX][\da-fA-F']+|0[bB][01']+|\d(?:[\d']*\d)?(?:\.[\d']*)?(?:[eE][+-]?\d+)?)\w*)
  | (?P<word>[A-Za-z_]\w*)
  | (?P<sign><=>|->\*|\.\.\.|<<=|>>=|::|->|\+\+|--|<<|>>(?=\s)|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|\[\[|\]\]|.)
''', re.X | re.S)
_WHOLE_NUMBER = re.compile(r"(0[xX][\da-fA-F']+|0[bB][01']+|[\d']+)([a-zA-Z]*)$")
_DECLARES = {'using', 'typedef', 'static_assert', 'assert', 'class', 'struct', 'enum', 'union', 'friend', 'template',
             'static', 'constexpr', 'auto', 'const', 'namespace', 'extern', 'goto', 'case', 'default', 'public',
             'private', 'protected', 'return', 'co_return', 'if', 'for', 'while', 'do', 'switch', 'else', 'try', 'catch', 'throw',
             'break', 'continue', 'explicit', 'virtual', 'inline', 'operator', 'requires', 'co_yield', 'thread_local'}
_NOT_IN = {'assert', 'static_assert', 'noexcept', 'decltype', 'sizeof', 'alignof', 'alignas', 'requires', 'explicit',
           'typeid'}
_COMPARED = {'<': ('<=', '>='), '<=': ('<', '>'), '>': ('>=', '<='), '>=': ('>', '<'), '==': ('!=',), '!=': ('==',),
             '&&': ('||',), '||': ('&&',), '+': ('-',), '-': ('+',), '+=': ('-=',), '-=': ('+=',), '++': ('--',),
             '--': ('++',)}
_OPENS, _CLOSES = {'(': ')', '[': ']', '{': '}', '[[': ']]'}, {')', ']', '}', ']]'}


class Mutant:
    """One change of one file: `before` is replaced by `after` at `start`."""

    def __init__(self, path, content, start, end, after, kind, occurrence):
        self.path, self.start, self.end, self.after, self.kind = path, start, end, after, kind
        self.before = content[start:end]
        self.line = content.count('\n', 0, start) + 1
        first, last = content.rfind('\n', 0, start) + 1, content.find('\n', start)
        self.text = content[first:last if last >= 0 else None]
        # The same for as long as the line is: whatever is written elsewhere, this change keeps its name.
        column = start - first - len(self.text) + len(self.text.lstrip())
        stays = (path, self.text.strip(), str(occurrence), str(column), self.before, after)
        self.id = hashlib.sha256('\0'.join(stays).encode()).hexdigest()[:8]

    def applied_to(self, content):
        return content[:self.start] + self.after + content[self.end:]

    def __str__(self):
        def short(code):
            code = re.sub(r'\s+', ' ', code).strip()
            return code if len(code) <= 60 else code[:57] + '…'
        return f'{short(self.before) or "(nothing)"} → {short(self.after) or "(nothing)"}'


class _Token:
    def __init__(self, kind, text, start, spaced):
        self.kind, self.text, self.start, self.spaced = kind, text, start, spaced
        self.end = start + len(text)
        self.partner = None  # the bracket that belongs to it
        self.block = None  # of `{`: 'body', 'statements', 'class', 'value'
        self.inside = False  # a function's body
        self.skipped = False

    def __repr__(self):
        return self.text


class _Source:
    """The tokens of a file, and what each stands in."""

    def __init__(self, content):
        self.content = content
        self.tokens = []
        position, spaced = 0, False
        while position < len(content):
            found = _TOKEN.match(content, position)
            position = found.end()
            kind = found.lastgroup if found.lastgroup != 'delimiter' else 'text'
            if kind in ('space', 'line'):
                spaced = True
                continue
            self.tokens.append(_Token(kind, found[0], found.start(), spaced))
            spaced = False
        self._pair()
        self._skip_templates()
        self._classify()
        self._skip_what_is_no_code()

    def text(self, i):
        return self.tokens[i].text if 0 <= i < len(self.tokens) else ''

    def spaced(self, i):
        return i < len(self.tokens) and self.tokens[i].spaced

    def _pair(self):
        opened = []
        for i, token in enumerate(self.tokens):
            if token.kind != 'sign':
                continue
            if token.text in _OPENS:
                opened.append(i)
            elif token.text in _CLOSES:
                # `a[b[0]]` ends in what looks like an attribute's end.
                if token.text == ']]' and opened and self.tokens[opened[-1]].text == '[':
                    token.partner = opened.pop()
                    self.tokens[token.partner].partner = i
                    if opened:
                        self.tokens[opened.pop()].partner = i
                elif opened:
                    token.partner = opened.pop()
                    self.tokens[token.partner].partner = i

    def _skip_templates(self):
        """Angle brackets: `x<…>` without a space before, and `template <…>`."""
        for i, token in enumerate(self.tokens):
            if token.text != '<' or token.skipped:
                continue
            before = self.text(i - 1)
            if not (before == 'template' or not token.spaced):
                continue
            depth, k = 1, i + 1
            while k < len(self.tokens) and depth > 0:
                text = self.text(k)
                if text in ('(', '{', '[') and self.tokens[k].partner:
                    k = self.tokens[k].partner
                elif text == '<':
                    depth += 1
                elif text == '>':
                    depth -= 1
                elif text in (';', ')', '}'):
                    break
                k += 1
            if depth == 0:
                for inner in self.tokens[i:k]:
                    inner.skipped = True

    def _head(self, i):
        """The tokens since the last statement or declaration, before the `{` at i."""
        k, depth = i - 1, 0
        while k >= 0:
            text = self.text(k)
            if text in (')', ']', ']]') or (text == '}' and self._block_of(k) == 'value'):
                k = self.tokens[k].partner if self.tokens[k].partner is not None else k
            elif text in (';', '{', '}', '(') or \
                    (text == ':' and self.text(k - 1) in ('public', 'private', 'protected')):
                break
            k -= 1
        return k + 1

    def _block_of(self, closing):
        opening = self.tokens[closing].partner
        return self.tokens[opening].block if opening is not None else None

    def _classify(self):
        around = []  # the blocks that are open
        for i, token in enumerate(self.tokens):
            token.skipped = token.skipped or 'skipped' in around
            token.inside = any(b in ('body', 'statements') for b in around)
            if token.kind == 'sign' and token.text == '{':
                token.block = self._kind_of_block(i, around[-1] if around else 'class')
                around.append(token.block)
            elif token.kind == 'sign' and token.text == '}' and around:
                around.pop()

    def _kind_of_block(self, i, outer):
        head = [self.tokens[k] for k in range(self._head(i), i)]
        words = [t.text for t in head if not t.skipped]
        before = self.text(i - 1)
        if 'enum' in words or 'concept' in words or before == 'requires' or self._requires_before(i):
            return 'skipped'
        if words and (words[0] in ('namespace', 'extern') or words[:2] == ['inline', 'namespace']):
            return 'class'
        if any(w in ('class', 'struct', 'union') for w in words) and '(' not in words:
            return 'class'
        if before in ('=', ',', '(', '{', 'return', 'co_return', '?', '&&', '||', 'co_await') and \
                outer not in ('statements', 'body'):
            return 'value'
        if outer == 'class':
            if '(' not in words:
                return 'value'
            closed = max(k for k, w in enumerate(words) if w == ')') if ')' in words else 0
            if ':' in words and before not in (')', '}', 'try'):
                return 'value'  # of a member, before the body of a constructor
            if '=' in words and closed < words.index('=') and ']' not in words:
                return 'value'
            return 'body'
        if before in (')', 'else', 'do', 'try', ';', ':', ']', 'mutable', 'noexcept', '}'):
            return 'statements'
        if before == '{':
            return 'statements' if self.tokens[i - 1].block in ('body', 'statements') else 'value'
        if '->' in words and ']' in words[:words.index('->')]:
            return 'statements'  # of a lambda that says what it returns
        return 'value'

    def _requires_before(self, i):
        if self.text(i - 1) != ')':
            return False
        opening = self.tokens[i - 1].partner
        return opening is not None and self.text(opening - 1) == 'requires'

    def _skip_what_is_no_code(self):
        for i, token in enumerate(self.tokens):
            if token.text in _NOT_IN and self.text(i + 1) == '(' or token.text.startswith('BOOST_'):
                end = self.tokens[i + 1].partner if self.text(i + 1) == '(' else i
                for inner in self.tokens[i:(end or i) + 1]:
                    inner.skipped = True
            elif token.text == '[[' and token.partner:
                for inner in self.tokens[i:token.partner + 1]:
                    inner.skipped = True


class _Places:
    """The changes of one file."""

    def __init__(self, path, content):
        self.path = path
        self.source = _Source(content)
        self.tokens = self.source.tokens
        self.text = self.source.text
        self.found = []  # (start, end, after, kind)
        for i, token in enumerate(self.tokens):
            if token.skipped:
                continue
            if token.inside:
                self._operator(i, token)
                if self._begins_a_statement(i):
                    self._statement(i)
            self._bound(i, token)

    def add(self, first, last, after, kind):
        self.found.append((self.tokens[first].start, self.tokens[last].end, after, kind))

    def _statement_has_text(self, i):
        """A sum in which a literal stands is a text."""
        for step in (-1, 1):
            k = i
            while 0 <= k < len(self.tokens) and self.text(k) not in (';', '{', '}'):
                if self.tokens[k].kind == 'text' or self.text(k) in ('to_string', 'string'):
                    return True
                k += step
        return False

    def _operator(self, i, token):
        text = token.text
        before = self.text(i - 1)
        if text in _COMPARED and before != 'operator':
            unary = text in ('++', '--')
            if not unary and not (token.spaced and self.source.spaced(i + 1)):
                return
            if text in ('+', '+=') and self._statement_has_text(i):
                return
            for after in _COMPARED[text]:
                self.add(i, i, after, 'operator')
        elif text == '!' and before != 'operator':
            self.add(i, i, '', 'operator')
        elif text == '?' and token.kind == 'sign':
            self._swap_arms(i)

    def _swap_arms(self, i):
        k, depth, colon = i + 1, 0, None
        while k < len(self.tokens):
            text = self.text(k)
            if text in _OPENS and self.tokens[k].partner:
                k = self.tokens[k].partner
            elif text == '?':
                depth += 1
            elif text == ':' and depth > 0:
                depth -= 1
            elif text == ':' and colon is None:
                colon = k
            elif text in (';', ',', ')', '}', ']') or (text == ':' and colon is not None):
                break
            k += 1
        if colon is None or colon == i + 1 or k == colon + 1:
            return
        content = self.source.content
        one = content[self.tokens[i + 1].start:self.tokens[colon - 1].end]
        other = content[self.tokens[colon + 1].start:self.tokens[k - 1].end]
        if one != other:
            self.add(i + 1, k - 1, f'{other} : {one}', 'operator')

    def _bound(self, i, token):
        if token.text in ('true', 'false') and (token.inside or self.text(i - 1) in ('=', '{')):
            self.add(i, i, 'false' if token.text == 'true' else 'true', 'statement')
        elif token.inside and token.text in ('min', 'max') and self.text(i - 1) == '::' and self.text(i - 2) == 'std' \
                and self.text(i + 1) in ('(', '<'):
            self.add(i, i, 'max' if token.text == 'min' else 'min', 'bound')
        elif token.kind == 'number' and self._is_mutable_number(i):
            whole = _WHOLE_NUMBER.match(token.text)
            if not whole:
                return
            digits, suffix = whole[1].replace("'", ''), whole[2]
            base, written = {'0x': (16, '0x{:X}'), '0b': (2, '0b{:b}')}.get(digits[:2].lower(), (10, '{}'))
            value = int(digits, base)
            for near in (value + 1, value - 1):
                if near >= 0:
                    self.add(i, i, written.format(near) + suffix, 'bound')

    def _is_mutable_number(self, i):
        token = self.tokens[i]
        if token.inside:
            return self.text(i - 1) != 'case' and not (self.text(i - 1) == '=' and self.text(i - 2) == ')')
        # Of a constant or a member: `= 5;`, `{5}`; not `virtual … = 0`.
        return self.text(i - 1) in ('=', '{', '<<') and self.text(i - 2) != ')' and \
            self.text(i - 2) not in ('const', 'noexcept', 'override')

    def _begins_a_statement(self, i):
        before, previous = self.text(i - 1), self.tokens[i - 1] if i else None
        if before == ';':
            return True
        if before == '{':
            return previous.block in ('body', 'statements')
        if before == '}':
            opening = previous.partner
            return opening is not None and self.tokens[opening].block in ('statements', 'body', 'class')
        if before in ('else', 'do'):
            return True
        if before == ')' and previous.partner is not None:
            return self.text(previous.partner - 1) in ('if', 'while', 'for', 'constexpr')
        return False

    def _end_of_statement(self, i):
        k = i
        while k < len(self.tokens):
            text = self.text(k)
            if text in _OPENS and self.tokens[k].partner:
                k = self.tokens[k].partner
            elif text == ';':
                return k
            elif text in _CLOSES:
                return None
            k += 1
        return None

    def _in_parentheses(self, i):
        """Whether the statement at i is a part of `for (…;…;…)`."""
        depth, k = 0, i - 1
        while k >= 0:
            text = self.text(k)
            if text in (')', ']', '}'):
                if self.tokens[k].partner is None:
                    return False
                k = self.tokens[k].partner
            elif text == '(':
                return True
            elif text == '{':
                return False
            k -= 1
        return False

    def _statement(self, i):
        if self.text(i) in ('{', '}', ';') or self._in_parentheses(i):
            return
        first = self.text(i)
        if first == 'if':
            self._condition(i)
        elif first == 'while' and self.text(i + 1) == '(' and self.text(i - 1) != '}':
            self._never(i + 2, self.tokens[i + 1].partner - 1)
        elif first in ('break', 'continue') and self.text(i + 1) == ';':
            self.add(i, i, 'continue' if first == 'break' else 'break', 'statement')
            self.add(i, i, '', 'statement')
        elif first not in _DECLARES:
            self._expression(i)
        self._early_end(i)

    def _condition(self, i):
        if self.text(i + 1) != '(':  # if constexpr
            return
        begin, end = i + 2, self.tokens[i + 1].partner - 1
        inner, k = [], begin
        while k <= end:
            inner.append(k)
            if self.text(k) in _OPENS and self.tokens[k].partner:
                k = self.tokens[k].partner
            k += 1
        for k in inner:
            if self.text(k) == ';':
                begin = k + 1
        inner = [k for k in inner if k >= begin]
        if any(self.text(k) == '=' for k in inner):  # it declares what it asks
            return
        self._always(begin, end)
        self._never(begin, end)

    def _always(self, begin, end):
        self._wrapped(begin, end, '|| true')

    def _never(self, begin, end):
        if not any(self.text(k) == '=' for k in range(begin, end + 1)):
            self._wrapped(begin, end, '&& false')

    def _wrapped(self, begin, end, more):
        code = self.source.content[self.tokens[begin].start:self.tokens[end].end]
        if code not in ('true', 'false'):
            self.add(begin, end, f'({code}) {more}', 'statement')

    def _expression(self, i):
        """A call or an assignment is left out."""
        end = self._end_of_statement(i)
        if end is None:
            return
        top, k = [], i
        while k < end:
            top.append(k)
            if self.text(k) in ('(', '[', '{') and self.tokens[k].partner:
                k = self.tokens[k].partner
            k += 1
        shown = [k for k in top if not self.tokens[k].skipped]
        for a, b in zip(shown, shown[1:]):
            if self.tokens[b].kind != 'word' or self.text(a) == 'co_await':
                continue
            if any(self.text(k) in ('=', '+=', '-=') for k in top if k < b):
                break
            of_type = self.text(b - 1) in ('>', '&', '*', '&&') and not self.tokens[b - 1].spaced
            if self.tokens[a].kind == 'word' or of_type and self.tokens[b].spaced:
                return  # two names side by side: a declaration
        acts = any(self.text(k) in ('=', '+=', '-=', '*=', '/=', '|=', '&=', '^=', '++', '--') for k in top)
        calls = self.text(end - 1) == ')' or '(' in [self.text(k) for k in top]
        if acts or calls:
            self.add(i, end - 1, '', 'statement')

    def _body_around(self, i):
        """Where the body of the function begins in which i stands directly; None in a lambda or a nested block."""
        k = i - 1
        while k >= 0:
            text = self.text(k)
            if text in (')', ']', '}') and self.tokens[k].partner is not None:
                k = self.tokens[k].partner
            elif text == '{':
                return k if self.tokens[k].block == 'body' else None
            k -= 1
        return None

    def _early_end(self, i):
        """The function ends here, with what it returns at last."""
        opening = self._body_around(i)
        if opening is None or self.text(i - 1) not in (';', '{', '}'):
            return
        closing = self.tokens[opening].partner
        if closing is None or self.text(i) in ('return', 'co_return', 'using', 'static_assert', 'assert'):
            return
        waits = any(self.text(k) in ('co_await', 'co_return') for k in range(opening, closing))
        word = 'co_return' if waits else 'return'
        head = [self.text(k) for k in range(self.source._head(opening), opening)]
        if head and ('void' in head[:head.index('(')] if '(' in head else False) and '*' not in head[:head.index('(')]:
            what = ''
        else:
            last = closing - 1
            begin = last
            while begin > opening and self.text(begin) != word:
                begin -= 1
            if self.text(last) != ';' or begin == opening or last - begin > 2:
                return
            what = ' ' + self.source.content[self.tokens[begin + 1].start:self.tokens[last - 1].end] \
                if last - begin == 2 else ''
            if not re.fullmatch(r' (true|false|nullptr|\{\}|[A-Za-z_]\w*_|\d+)|', what):
                return
        start = self.tokens[i].start
        self.found.append((start, start, f'{word}{what}; ', 'statement'))


def of_file(path, content):
    """All changes of a file, in the order in which they stand."""
    places = sorted(set(_Places(path, content).found))
    lines = content.split('\n')
    begins = [0]
    for line in lines:
        begins.append(begins[-1] + len(line) + 1)
    seen, occurrence = {}, []
    for line in lines:
        seen[line.strip()] = seen.get(line.strip(), 0) + 1
        occurrence.append(seen[line.strip()])
    return [Mutant(path, content, start, end, after, kind, occurrence[bisect.bisect(begins, start) - 1])
            for start, end, after, kind in places]


def of_tree(root, globs=()):
    """path -> its changes, for the files of lib/ that are changed at all."""
    found = {}
    for folder in FOLDERS:
        for file in sorted((root / folder).glob('*')):
            path = str(file.relative_to(root))
            wanted = not globs or any(pathlib.PurePath(path).match(glob) for glob in globs)
            if wanted and file.suffix in ('.hpp', '.cpp'):
                changes = of_file(path, file.read_text(encoding='utf-8'))
                if changes:
                    found[path] = changes
    return found


# What a file counts for when mutants are dealt out: its places, but no file is forgotten and none takes all.
LEAST, MOST = 25, 250


def draw(by_file, seed):
    """All of them, in the order of a seed: every beginning of it is spread over the files."""
    def chance(*words):
        return int.from_bytes(hashlib.sha256(' '.join((str(seed), *words)).encode()).digest()[:8], 'big') / 2**64

    dealt = []
    for path, changes in by_file.items():
        weight = min(max(len({m.start for m in changes}), LEAST), MOST)
        phase = chance(path)
        # One change of each place first, then the others.
        rank, rounds = {}, {}
        for m in sorted(changes, key=lambda m: chance(m.id)):
            rounds[m.start] = rounds.get(m.start, -1) + 1
            rank[m.id] = rounds[m.start]
        ordered = sorted(changes, key=lambda m: (rank[m.id], chance(m.id)))
        dealt += [((k + phase) / weight, path, m) for k, m in enumerate(ordered)]
    return [m for _, _, m in sorted(dealt, key=lambda d: d[:2])]
