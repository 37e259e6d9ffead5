#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Litmus tests from a compact description (shapes.txt): each shape in three modes, as C code for the guests, and with
it the outcomes that x86-TSO allows, found by running the abstract machine in every possible way.

    generate.py shapes.txt OUTPUT.h       writes the code
    generate.py shapes.txt --list         says what is in it

The machine (Owens, Sarkar, Sewell: A Better x86 Memory Model): one memory; in front of it a FIFO buffer of stores for
each processor, which goes to memory one by one, any time; a load takes the newest store of its own buffer, or memory;
mfence, and a locked instruction, wait for the buffer to be empty, and the latter writes memory itself. An interrupt is
sent by a store to an uncached page, which waits for the buffer too.
"""
import re
import sys

MODES = ("plain", "mfence", "lock")
VARIABLES = "xy"
ITEM_BITS = 2  # values are 0, 1, 2; 3: what nobody stores
THREADS_MAX = 4
ITEMS_MAX = 4


class Wrong(Exception):
    pass


class Shape:
    def __init__(self, line):
        parts = [p.strip() for p in line.split(" : ")]
        if len(parts) != 4:
            raise Wrong(f"four parts, separated by ' : ': {line!r}")
        self.name, body = parts[0].split(maxsplit=1)
        self.threads = [[self.op(w) for w in t.split()] for t in body.split("|")]
        self.registers = [o[1] for t in self.threads for o in t if o[0] in "RHA"]
        self.text = " ".join(body.split())
        asked = [w.split("=") for w in parts[1].split()]
        self.items = self.registers + [n for n, _ in asked if n in VARIABLES]
        if len(self.items) > ITEMS_MAX or len(set(self.items)) != len(self.items):
            raise Wrong(f"{self.name}: more than {ITEMS_MAX} things to see, or one of them twice")
        self.asked = {n: int(v) for n, v in asked}
        if set(self.asked) - set(self.items):
            raise Wrong(f"{self.name}: the outcome names something that the shape does not have")
        self.verdict = set(MODES) if parts[2] == "forbidden" else set(parts[2].split())
        if not self.verdict or self.verdict - set(MODES):
            raise Wrong(f"{self.name}: verdict {parts[2]!r}; allowed: forbidden, or some of {', '.join(MODES)}")
        if not 1 < len(self.threads) <= THREADS_MAX:
            raise Wrong(f"{self.name}: {len(self.threads)} threads; allowed: 2..{THREADS_MAX}")
        if parts[3] not in [str(n) for n in range(len(self.threads))]:
            raise Wrong(f"{self.name}: turned thread {parts[3]!r}; allowed: 0..{len(self.threads) - 1}")
        self.turned = int(parts[3])

    @staticmethod
    def op(word):
        """(kind, ...): W variable value, R, H, A register variable (plain, in a handler, after it), I."""
        if word == "irq":
            return ("I",)
        m = re.fullmatch(r"([xy])=([12])", word)
        if m:
            return ("W", m[1], int(m[2]))
        m = re.fullmatch(r"(handler:|after:)?([a-d])=([xy])", word)
        if m:
            return ({None: "R", "handler:": "H", "after:": "A"}[m[1]], m[2], m[3])
        raise Wrong(f"not an access: {word!r}")

    @property
    def irq(self):
        return any(o == ("I",) for t in self.threads for o in t)

    @property
    def variables(self):
        return sorted({o[-1] if o[0] != "W" else o[1] for t in self.threads for o in t if o != ("I",)})

    def in_mode(self, mode, turned=None):
        """The threads' accesses in this mode; of one thread the other way round."""
        threads = []
        for n, t in enumerate(self.threads):
            ops = list(reversed(t)) if n == turned else list(t)
            if mode == "lock":
                ops = [("X", *o[1:]) if o[0] == "W" else o for o in ops]
            elif mode == "mfence":
                ops = [o for k, op in enumerate(ops) for o in ((("F",), op) if k else (op,))]
            threads.append(ops)
        return threads


def steps(state, threads):
    """All states that may come next; a state: memory, interrupt sent, registers, (next, buffer) of each thread."""
    memory, sent, registers, cpus = state

    def go(n, cpu, **new):
        return (new.get("memory", memory), new.get("sent", sent), new.get("registers", registers),
                cpus[:n] + (cpu,) + cpus[n + 1:])

    def stored(variable, value):
        return tuple((v, value if v == variable else old) for v, old in memory)

    for n, (pc, buffer) in enumerate(cpus):
        if buffer:
            yield go(n, (pc, buffer[1:]), memory=stored(*buffer[0]))
        if pc == len(threads[n]):
            continue
        op = threads[n][pc]
        if op[0] == "W":
            yield go(n, (pc + 1, buffer + (op[1:],)))
        elif op[0] in "XFI":
            if not buffer:
                yield go(n, (pc + 1, buffer), sent=sent or op[0] == "I",
                         memory=stored(*op[1:]) if op[0] == "X" else memory)
        elif op[0] == "R" or sent:
            own = [value for variable, value in buffer if variable == op[2]]
            value = own[-1] if own else dict(memory)[op[2]]
            yield go(n, (pc + 1, buffer), registers=tuple(sorted(registers + ((op[1], value),))))


def outcomes(shape, threads):
    """Every outcome that the machine can reach, as values of shape.items."""
    start = (tuple((v, 0) for v in VARIABLES), False, (), tuple((0, ()) for _ in threads))
    todo, seen, ends = [start], {start}, set()
    while todo:
        state = todo.pop()
        following = list(steps(state, threads))
        if not following:
            values = dict(state[0]) | dict(state[2])
            ends.add(tuple(values[i] for i in shape.items))
        for s in following:
            if s not in seen:
                seen.add(s)
                todo.append(s)
    return ends


def code_of(values):
    return sum(v << (ITEM_BITS * k) for k, v in enumerate(values))


def asked_outcomes(shape):
    """What the shape is about: all outcomes with these values, whatever the other items are."""
    space = [()]
    for item in shape.items:
        values = [shape.asked[item]] if item in shape.asked else range(1 << ITEM_BITS)
        space = [s + (v,) for s in space for v in values]
    return set(space)


def check(shape):
    """Refuses a shape whose verdict is not the machine's."""
    for mode in MODES:
        possible = bool(asked_outcomes(shape) & outcomes(shape, shape.in_mode(mode)))
        if possible == (mode in shape.verdict):
            raise Wrong(f"{shape.name}, {mode}: the machine {'reaches' if possible else 'does not reach'} "
                        f"what is called {'forbidden' if possible else 'allowed'}")


def read_shapes(path):
    with open(path, encoding="utf-8") as f:
        lines = [line.strip() for line in f]
    shapes = [Shape(line) for line in lines if line and not line.startswith("#")]
    for s in shapes:
        check(s)
    return shapes


def function(name, ops, register_index):
    """One thread. What may wait (LM_GAP) lies between its accesses."""
    lines = [f"static void {name}(struct litmus_thread *t)", "{"]
    for k, op in enumerate(ops):
        if k == len(ops) - (2 if len(ops) > 1 and ops[-2] == ("F",) else 1) and k > 0:
            lines.append("    LM_GAP(t);")
        lines.append({
            "W": lambda: f"    LM_STORE(t, {op[1]}, {op[2]});",
            "X": lambda: f"    LM_XCHG(t, {op[1]}, {op[2]});",
            "F": lambda: "    LM_FENCE(t);",
            "I": lambda: "    LM_IRQ(t);",
            "R": lambda: f"    LM_LOAD(t, {register_index[op[1]]}, {op[2]});",
            "H": lambda: f"    LM_HANDLER_LOAD(t, {register_index[op[1]]}, {op[2]});",
            "A": lambda: f"    LM_AFTER_LOAD(t, {register_index[op[1]]}, {op[2]});",
        }[op[0]]())
    return lines + ["}", ""]


def bitmap(values):
    words = [0, 0, 0, 0]
    for v in values:
        words[code_of(v) // 64] |= 1 << code_of(v) % 64
    return ", ".join(f"0x{w:x}u" for w in words)


def emit(shapes):
    head = ["/* Written by tests/litmus/generate.py from shapes.txt. */", ""]
    functions, table = [], []
    for s in shapes:
        index = {r: k for k, r in enumerate(s.registers)}
        owner = {o[1]: n for n, t in enumerate(s.threads) for o in t if o[0] in "RHA"}
        turn_mode = next(m for m in MODES if m in s.verdict)
        for mode in MODES:
            base = f"lm_{re.sub('[^A-Za-z0-9]', '_', s.name)}_{mode}"
            ops = s.in_mode(mode)
            allowed = outcomes(s, ops)
            body = []
            for n, thread in enumerate(ops):
                body += function(f"{base}_{n}", thread, index)
            turn = "NULL"
            if mode == turn_mode:
                turn = f"{base}_turned"
                body += function(turn, s.in_mode(mode, s.turned)[s.turned], index)
            items = ", ".join(f"{{'{i}', {owner.get(i, 0)}, {index.get(i, 0)}}}" for i in s.items)
            entry = [
                "    {",
                f'        .name = "{s.name}", .mode = "{mode}", .text = "{s.text}",',
                f"        .threads = {len(ops)}, .variables = {len(s.variables)}, .irq = {str(s.irq).lower()},",
                f"        .run = {{{', '.join(f'{base}_{n}' for n in range(len(ops)))}}},",
                f"        .turn = {turn}, .turned = {s.turned},",
                f"        .items = {len(s.items)}, .item = {{{items}}},",
                f"        .allowed = {{{bitmap(allowed)}}},",
                f"        .asked = {{{bitmap(asked_outcomes(s))}}},",
                "    },",
            ]
            guard = (["#ifdef LITMUS_IRQ"], ["#endif", ""]) if s.irq else ([], [])
            functions += guard[0] + body + guard[1]
            table += guard[0] + entry + guard[1]
    return "\n".join(head + functions + ["static const struct litmus_test litmus_tests[] = {"] + table + ["};", ""])


def show(shapes):
    for s in shapes:
        for mode in MODES:
            allowed = outcomes(s, s.in_mode(mode))
            seen = " ".join("".join(map(str, v)) for v in sorted(allowed))
            print(f"{s.name:6} {mode:7} {s.text:34} {','.join(s.items):8} allowed: {seen}")


def main():
    try:
        shapes = read_shapes(sys.argv[1])
    except Wrong as e:
        print(f"{sys.argv[1]}: {e}", file=sys.stderr)
        return 1
    if sys.argv[2] == "--list":
        show(shapes)
    else:
        with open(sys.argv[2], "w", encoding="ascii") as f:
            f.write(emit(shapes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
