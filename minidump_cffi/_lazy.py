"""Public names that are imported when they are first used: a dump from the command line needs few of them."""

TYPE_CHECKING = False  # typing takes longer to import than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def homes(names: "Mapping[str, str]") -> dict[str, str]:
    """The module of each name, from the names of each module (separated by blanks)."""
    return {name: module for module, group in names.items() for name in group.split()}


def attributes(package: str, where: "Mapping[str, str]") -> "tuple[Callable[[str], object], Callable[[], list[str]]]":
    """`__getattr__` and `__dir__` of a package: `where` has the module of each public name, seen from the package.

    A name whose module is its own name is that module.
    """
    from sys import modules

    def find(name: str) -> object:
        home = where.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        leaf = home.lstrip(".")
        above = max(0, len(home) - len(leaf) - 1)  # a second dot is the package above, as in import statements
        full = f"{package.rsplit('.', above)[0]}.{leaf}"
        __import__(full)
        module = modules[full]
        found: object = module if name == home else getattr(module, name)
        setattr(modules[package], name, found)
        return found

    def names() -> list[str]:
        return sorted({*vars(modules[package]), *where})

    return find, names
