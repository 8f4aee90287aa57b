# SPDX-License-Identifier: MIT OR Apache-2.0

import os

from spack.package import *


class Dijitso(CMakePackage):
    """Just-in-time building of shared libraries, for simulation codes that generate code while they run: compiled once,
    cached, and handed to all ranks of an MPI job."""

    # packaging/archive makes the archive. Spack takes it from the directory in which it runs, or from a mirror.
    manual_download = True
    url = "file:///dijitso-0.1.0.tar.xz"

    license("MIT OR Apache-2.0")

    # Each release adds the sha256 of its archive here; `spack install --no-checksum` does without.
    version("0.1.0")

    variant("command", default=True, description="Build the command dijitso beside the library")

    # No MPI: the library finds that of each program when it runs.
    depends_on("c", type="build")
    depends_on("cmake@3.22:", type="build")
    depends_on("rust@1.88:", type="build")

    def url_for_version(self, version):
        return f"file://{os.getcwd()}/dijitso-{version}.tar.xz"

    def cmake_args(self):
        return [self.define_from_variant("DIJITSO_BUILD_COMMAND", "command")]

    def setup_build_environment(self, env):
        # cargo writes nothing into the home directory. The crates are in the archive.
        env.set("CARGO_HOME", join_path(self.stage.path, "cargo"))

    def test_command(self):
        """the command starts"""
        if self.spec.satisfies("~command"):
            raise SkipTest("installed without the command")
        out = which(self.prefix.bin.dijitso)("--version", output=str.split, error=str.split)
        assert str(self.spec.version) in out
