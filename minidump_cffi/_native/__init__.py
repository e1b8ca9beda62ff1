"""The only package that imports the extension, `_ext`: C structs in, Python values and exceptions out.

Every C object that is held here frees itself with its Python object, but only in the process that made it: in a forked
child it is unusable and frees nothing.
"""
