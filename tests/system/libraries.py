# SPDX-License-Identifier: BSD-3-Clause
"""A program of a Debian package with the shared libraries that it needs, found by what the ELF files
ask for (DT_NEEDED), in packages that are downloaded and unpacked, never installed."""
import os
import re
import shutil

import debian

FOLDERS = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64", "lib", "usr/lib")
LOADER = "ld-linux-x86-64.so.2"
DEPTH = 4  # of packages that depend on packages


def needed(elf):
    """Names of the libraries that an ELF file asks for."""
    return re.findall(r"\(NEEDED\).*\[(.+)\]", debian.call(["readelf", "-d", elf]))


def find(tree, name):
    for folder in FOLDERS:
        path = os.path.join(tree, folder, name)
        if os.path.exists(path):
            return os.path.realpath(path)
    return None


def closure(program, trees):
    """({library: file}, names that none of the trees has)."""
    have, missing, todo = {}, set(), [program]
    while todo:
        for name in needed(todo.pop()):
            if name in have or name in missing:
                continue
            path = next((p for p in (find(t, name) for t in trees) if p), None)
            if path:
                have[name] = path
                todo.append(path)
            else:
                missing.add(name)
    return have, missing


def collect(package, program, directory):
    """The program's file and its libraries. Packages are unpacked level by level of what they
    depend on, and no further than the libraries need."""
    trees, level = debian.unpack_all([package], directory), [package]
    program = os.path.join(trees[package], program)
    for _ in range(DEPTH):
        libraries, missing = closure(program, trees.values())
        if not missing:
            return program, libraries
        level = [name for name in debian.depends(*level) if name not in trees]
        trees |= debian.unpack_all(level, directory)
    libraries, missing = closure(program, trees.values())
    if missing:
        raise debian.DebianError(f"{package} needs {' '.join(sorted(missing))}, and no package brings it")
    return program, libraries


def add_program(tree, package, program, directory):
    """Puts a program of a package, its libraries and their loader into a root directory."""
    os.makedirs(directory, exist_ok=True)
    source, libraries = collect(package, program, directory)
    for folder in ("usr/bin", "usr/lib", "lib64"):
        os.makedirs(os.path.join(tree, folder), exist_ok=True)
    shutil.copy(source, os.path.join(tree, "usr/bin"))
    loader = libraries.pop(LOADER, None) or find(os.path.join(directory, "libc6"), LOADER)
    for name, path in libraries.items():
        shutil.copy(path, os.path.join(tree, "usr/lib", name))
    shutil.copy(loader, os.path.join(tree, "lib64", LOADER))
