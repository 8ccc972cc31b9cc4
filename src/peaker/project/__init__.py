"""What a project holds, found by reading its code: web apps, handlers, and signs of what must stay on the servers.

Everything is static: files are parsed by `ast`, and nothing of them is imported or run. So it is a look, not a proof;
code that makes its names at run time is not seen.
"""
