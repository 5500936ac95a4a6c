"""How the nouns are made: frozen msgspec structs.

A frozen dataclass of thirty fields takes some 7 us to build, because each field goes through
`object.__setattr__`; the struct takes under 1 us, and writes itself to the journal without a converter.
See docs/decisions/0002-core-values.md.
"""

import msgspec


class Value(msgspec.Struct, frozen=True, gc=False):
    """A value: compared by content, impossible to edit."""
