#!/bin/busybox sh
# First process of the guest. It does what /kmodsmith/steps says and reports each step through the kernel's own log,
# so that reports and kernel messages come out of the console whole and in their true order. The word in
# /kmodsmith/nonce is new for every boot: no line that lacks it is a report. It judges nothing; the host does.
/bin/busybox mkdir -p /proc /sys /dev /tmp /bin
/bin/busybox --install -s /bin
export PATH=/bin HOME=/
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mount -t securityfs none /sys/kernel/security 2>/dev/null
mount -t debugfs none /sys/kernel/debug 2>/dev/null
read -r nonce </kmodsmith/nonce

tell() { echo "<13>kmodsmith $nonce $*" >/dev/kmsg; }

tell_lines() { # tell_lines WORD FILE: the first 200 lines of a file, each as a report
    [ -s "$2" ] || return
    head -n 200 "$2" | cut -c1-800 | while IFS= read -r line; do tell "$1 $line"; done
}

begin() { # begin STEP [PATIENCE]: after most of its time the kernel says what everybody waits for
    step=$1
    tell "begin $step"
    dog=
    [ -n "${2:-}" ] || return
    (sleep "$2"; echo w >/proc/sysrq-trigger) &
    dog=$!
}

end() { # end CODE FILE: FILE is what the step printed
    [ -z "$dog" ] || kill "$dog" 2>/dev/null
    tell_lines "said" "$2"
    tell "end $step $1"
}

refuse() { # refuse STEP PATIENCE FILE: reports whether the kernel takes a module that it must not take
    begin "$1"
    insmod "$3" >/tmp/said 2>&1
    code=$?
    [ "$code" != 0 ] || rmmod "$3"
    end "$code" /tmp/said
}

load() { # load STEP PATIENCE WANTED FILE [ARGUMENT...]: WANTED is "taken" or "refused"; anything else ends the test
    begin "$1" "$2"
    wanted=$3
    shift 3
    insmod "$@" >/tmp/said 2>&1
    code=$?
    end "$code" /tmp/said
    case "$wanted:$code" in
    taken:0) ;;
    taken:*) finish ;;
    refused:0) finish ;;
    esac
}

smoke() { # smoke STEP PATIENCE COMMAND...
    begin "$1" "$2"
    shift 2
    (cd /kmodsmith/test && "$@") >/tmp/said 2>&1 </dev/null
    end $? /tmp/said
}

unload() { # unload STEP PATIENCE MODULE
    begin "$1" "$2"
    rmmod "$3" >/tmp/said 2>&1
    code=$?
    end "$code" /tmp/said
    [ "$code" = 0 ] || finish
}

repeat() { # repeat STEP PATIENCE COUNT: loads and unloads everything, see load_all and unload_all in the steps
    begin "$1" "$2"
    code=0
    memory=$(kernel_memory)
    round=0
    while [ "$round" -lt "$3" ]; do
        load_all >/tmp/said 2>&1 || { code=$?; break; }
        unload_all >/tmp/said 2>&1 || { code=$?; break; }
        round=$((round + 1))
        # The first rounds fill caches of the kernel.
        [ "$round" != 2 ] || memory=$(kernel_memory)
    done
    [ "$code" = 0 ] || echo "in round $((round + 1))" >>/tmp/said
    grown=$(($(kernel_memory) - memory))
    end "$code" /tmp/said
    tell "grown $step $grown"
    [ "$code" = 0 ] || finish
}

kernel_memory() { # KiB that the kernel cannot give back
    awk '/^(SUnreclaim|VmallocUsed|Percpu):/ { sum += $2 } END { print sum }' /proc/meminfo
}

list_registrations() { # a line for everything that a module can leave behind: KIND WHAT
    # Deep enough for classes, devices, drivers and caches; attributes below them would only cost time.
    {
        find /dev /sys/class /sys/bus /sys/devices /sys/fs /sys/block -maxdepth 3
        find /sys/kernel -maxdepth 2 ! -path '/sys/kernel/debug/*'
        find /sys/module /sys/kernel/debug -maxdepth 1
        find /proc -maxdepth 3 -path '/proc/[0-9]*' -prune -o -path '/proc/*self' -prune -o -print
    } | awk '{ print (/^.dev/ ? "device-node " : /^.sys/ ? "sysfs-entry " : "registration ") $0 }'
    cd /proc || return
    # Of interrupts the number and the name; of memory that which was allocated by code that is gone, so has no name.
    awk 'FILENAME == "interrupts" { print "registration /proc/interrupts: " $1 " " $NF; next }
        FILENAME != "vmallocinfo" { sub(/^ +/, ""); print "registration /proc/" FILENAME ": " $0; next }
        $3 ~ /^0x[0-9a-f]+$/ { print "memory " $2 " bytes, allocated at " $3 }' \
        devices misc iomem ioports filesystems interrupts vmallocinfo
    cd /
} 2>/dev/null

list_new() { # lines of the second file that the first one lacks
    awk 'NR == FNR { seen[$0]; next } !($0 in seen)' "$1" "$2"
}

leftovers() { # leftovers STEP PATIENCE
    begin "$1"
    for pause in 0.3 0; do
        list_registrations >/tmp/after
        list_new /tmp/before /tmp/after >/tmp/left
        [ -s /tmp/left ] || break
        sleep "$pause" # some things are freed a moment later
    done
    tell_lines left /tmp/left
    : >/tmp/said
    end 0 /tmp/said
}

finish() {
    tell "fact taint $(cat /proc/sys/kernel/tainted)" # a shell reads byte by byte, which such files do not like
    tell finish
    while :; do sleep 60; done # the host ends the machine
}

fact() { # fact NAME FILE: the first line of a file
    value=
    read -r value <"$2"
    tell "fact $1 $value"
} 2>/dev/null

tell start
fact release /proc/sys/kernel/osrelease
fact lockdown /sys/kernel/security/lockdown
fact enforced /sys/module/module/parameters/sig_enforce
tell "fact taint-before $(cat /proc/sys/kernel/tainted)"
while read -r line; do
    case "$line" in
    *" .machine: "* | *" .platform: "*) tell "fact keyring-${line##* .}" ;;
    esac
done </proc/keys
ifconfig lo up 2>/dev/null
. /kmodsmith/prepare
list_registrations >/tmp/before
. /kmodsmith/steps
finish
