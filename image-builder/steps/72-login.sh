#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Last layer, in the chroot: what login.defs says of accounts that an operator makes (the image has none but root, who has no password).
set -euo pipefail
set_default() { # NAME VALUE
    sed -i "/^#* *$1[[:space:]]/d" /etc/login.defs
    printf '%s\t%s\n' "$1" "$2" >>/etc/login.defs
}
set_default UMASK 027
set_default PASS_MIN_DAYS 1
set_default PASS_MAX_DAYS 365
set_default SHA_CRYPT_MIN_ROUNDS 65536   # should one choose SHA-512 over yescrypt
set_default SHA_CRYPT_MAX_ROUNDS 65536
set_default YESCRYPT_COST_FACTOR 7
