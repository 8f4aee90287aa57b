# SPDX-License-Identifier: MIT OR Apache-2.0
# A mistake, for a test of the message.
a = innr(1, 2) * dx
