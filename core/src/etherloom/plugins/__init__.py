"""Discovery and hooks: which kinds are installed, and who is told what.

Picking one by name is `registry`'s work (entry points, by stevedore), telling everybody that of `hooks` (pluggy);
`hookspecs` lists what there is to tell. Nothing here is on a frame's way.
"""
