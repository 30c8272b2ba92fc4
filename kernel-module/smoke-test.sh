#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Exercises the devices of ptemplate_char, and that of ptemplate_edu where there is one; loads nothing itself. Needs a POSIX shell and dd (busybox will do).
# Exit code: 0 all checks passed, 1 some failed, 2 the module is not loaded or has no devices.
set -u

parameters=/sys/module/ptemplate_char/parameters
failed=0

check() { # check WHAT EXPECTED FOUND
    if [ "$2" = "$3" ]; then
        echo "ok   $1"
    else
        echo "FAIL $1: expected '$2', found '$3'"
        failed=1
    fi
}

bytes() { # bytes COUNT: that many letters
    dd if=/dev/zero bs="$1" count=1 2>/dev/null | tr '\000' x
}

if [ ! -d "$parameters" ] || [ ! -c /dev/ptemplate-0 ]; then
    echo "FAIL ptemplate_char is not loaded, or has made no /dev/ptemplate-0"
    exit 2
fi
count=$(cat $parameters/max_dev)
size=$(cat $parameters/buffersize)

found=0
for device in /dev/ptemplate-*; do [ -c "$device" ] && found=$((found + 1)); done
check "number of devices is max_dev" "$count" "$found"

last=/dev/ptemplate-$((count - 1))
check "the last device holds default_msg" "$(cat $parameters/default_msg)" "$(cat $last)"

printf one >/dev/ptemplate-0
check "what was written is read" one "$(cat /dev/ptemplate-0)"
check "reading at the end gives nothing" "" "$(dd if=/dev/ptemplate-0 bs=1 skip=3 2>/dev/null)"
check "reading from the middle" ne "$(dd if=/dev/ptemplate-0 bs=1 skip=1 2>/dev/null)"
if [ "$count" -gt 1 ]; then
    check "devices do not share content" "$(cat $parameters/default_msg)" "$(cat $last)"
fi

bytes "$size" >/dev/ptemplate-0
check "a device takes buffersize bytes" "$size" "$(wc -c </dev/ptemplate-0 | tr -d ' ')"
if printf x 2>/dev/null | dd of=/dev/ptemplate-0 bs=1 seek="$size" 2>/dev/null; then refused=no; else refused=yes; fi
check "a byte beyond buffersize is refused" yes "$refused"
check "and changes nothing" "$size" "$(wc -c </dev/ptemplate-0 | tr -d ' ')"

# Where there is such a device: it computes, and moves bytes, and tells by interrupts when it is done.
for device in /sys/bus/pci/drivers/ptemplate_edu/*:*; do
    [ -e "$device/factorial" ] || continue
    for number in "0 1" "5 120" "12 479001600"; do
        echo "${number% *}" >"$device/factorial"
        check "edu computes ${number% *}!" "${number#* }" "$(cat "$device/factorial")"
    done
    if { echo 13 >"$device/factorial"; } 2>/dev/null; then refused=no; else refused=yes; fi
    check "a factorial that does not fit is refused" yes "$refused"
    check "and changes nothing" 479001600 "$(cat "$device/factorial")"
    if [ ! -e "$device/echo" ]; then
        echo "ok   (edu reaches no memory of this machine: its DMA is not tried)"
        continue
    fi
    printf 'by DMA\nthere and back' >"$device/echo"
    check "edu gives back what it was sent" "$(printf 'by DMA\nthere and back')" "$(cat "$device/echo")"
    echo less >"$device/echo"
    check "and no more than that" less "$(cat "$device/echo")"
done

exit $failed
