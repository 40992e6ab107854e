"""The subcommands of `grace`: each module here has a function `register(app)`, found by itself.

Modules import what is heavy inside their functions, so that `grace --help` stays quick.
"""
