# SPDX-License-Identifier: MIT OR Apache-2.0
"""Makes trivial jobs by compmake, and prints the time that a job takes.

    compmake_trivial.py DIRECTORY JOBS COMMAND      COMMAND is "make", or "parmake n=2"
"""
import json
import sys
import time


def job(number):
    return number


def main(directory, jobs, command):
    import compmake
    import compmake_trivial  # jobs are found by the name of their module

    compmake.set_compmake_status(compmake.CompmakeConstants.compmake_status_embedded)
    compmake.set_compmake_config("status_line_enabled", False)
    compmake.set_compmake_config("console_status", False)
    begin = time.perf_counter()
    context = compmake.Context(directory)
    for number in range(int(jobs)):
        context.comp(compmake_trivial.job, number, job_id=f"j{number}")
    context.batch_command(command)
    seconds = time.perf_counter() - begin
    print(json.dumps({"version": compmake.__version__, "node": seconds / int(jobs)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
