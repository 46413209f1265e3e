"""Show: the program `rewrite`, the editor, and the training of the built-in world.

Only the commands and their options are promised. All modules are internal: nothing here is to be imported.
"""

__all__: list[str] = []
