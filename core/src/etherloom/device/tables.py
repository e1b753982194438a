"""The register table of a model's README, from the model's declarations; a test of the model compares the two."""

from __future__ import annotations

from etherloom.device.registers import Access, Register, registers_of

__all__ = ["register_table"]

ACCESS = {Access.RW: "RW", Access.RO: "R", Access.W1C: "RW1C", Access.WO: "W"}


def register_table(model: type) -> str:
    """A Markdown table of the registers `model` declares, by offset.

    Bits are listed where the declaration names them. A mark behind the access tells a register that takes writes only
    under some condition (`*`), and one whose reads or writes do something (`!`).
    """
    rows = ["| offset | bytes | name | access | reset | what |", "|---|---|---|---|---|---|"]
    for register in registers_of(model):
        name, what = register.name, register.doc
        if register.bits is not None:
            named = (f"{bit.name} {bit.value.bit_length() - 1}" for bit in reversed(register.bits) if bit.name)
            what += f": {', '.join(named)}"
        reset = f"{register.reset:0{2 * register.width}X}" if register.reset else "0"
        rows.append(f"| {register.offset:02X} | {register.width} | {name} | {_access(register)} | {reset} | {what} |")
    return "\n".join(rows)


def _access(register: Register) -> str:
    condition = "*" if register.allow is not None else ""
    effect = "!" if register.writer is not None or register.reader is not None else ""
    return ACCESS[register.access] + condition + effect
