# SPDX-License-Identifier: MIT OR Apache-2.0
"""Numbers of a form that FFC has compiled: its rank, its coefficients, and sums over the tensor of one cell."""

import ctypes
import os

_library = ctypes.CDLL(os.environ["CLIENTS_UFC_VALUES"])


def of_form(address):
    values = (ctypes.c_double * 4)()
    _library.ufc_values(ctypes.c_void_p(address), values)
    return list(values)
