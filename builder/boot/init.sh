#!/bin/busybox sh
# First process of the guest. It does what /kmodsmith/steps says and reports each step through the kernel's own log,
# so that reports and kernel messages come out of the console whole and in their true order. Every report spends a word
# that was made up for it and for this boot: one that lacks it is no report, and one that was seen is worth nothing any
# more. It judges nothing; the host does. All of it is read before anything runs that is not our own, and its files
# are gone by then: what runs later can neither read the words nor change what is to come.
main() {
    /bin/busybox mkdir -p /proc /sys /dev /tmp /bin
    /bin/busybox --install -s /bin
    export PATH=/bin HOME=/
    mount -t proc none /proc
    mount -t sysfs none /sys
    mount -t devtmpfs none /dev
    mount -t securityfs none /sys/kernel/security 2>/dev/null
    mount -t debugfs none /sys/kernel/debug 2>/dev/null
    mount -t tracefs none /sys/kernel/tracing 2>/dev/null
    words=$(cat /kmodsmith/words)
    prepare=$(cat /kmodsmith/prepare)
    steps=$(cat /kmodsmith/steps)
    helpers=$(cat /kmodsmith/helpers)
    rm /kmodsmith/words /kmodsmith/prepare /kmodsmith/steps /kmodsmith/helpers
    exec 6>/dev/kmsg 7</dev/kmsg
    tell start
    fact release /proc/sys/kernel/osrelease
    fact lockdown /sys/kernel/security/lockdown
    fact enforced /sys/module/module/parameters/sig_enforce
    tell "fact taint-before $(cat /proc/sys/kernel/tainted)" # a shell reads byte by byte, which such files do not like
    while read -r line; do
        case "$line" in
        *" .machine: "* | *" .platform: "*) tell "fact keyring-${line##* .}" ;;
        esac
    done </proc/keys
    # Programs that the kernel starts for a module may do no more than the smoke test.
    echo "$helpers" >/proc/sys/kernel/usermodehelper/bset
    echo /kmodsmith/modprobe >/proc/sys/kernel/modprobe
    { echo 1 >/sys/kernel/tracing/events/module/module_request/enable; } 2>/dev/null
    ifconfig lo up 2>/dev/null
    eval "$prepare"
    # The kernel makes a cache for the first processes that have numbers of their own, and keeps it.
    [ ! -d /kmodsmith/test ] || unshare -p -f --mount-proc true
    before=$(list_registrations)
    account
    eval "$steps"
    finish
}

take_word() {
    word=${words%% *}
    words=${words#* }
}

tell() {
    take_word
    echo "<13>kmodsmith $word $*" >&6
}

tell_lines() { # tell_lines WORD TEXT: the first 200 lines, as one report of many lines
    [ -n "$2" ] || return
    take_word
    printf "%s\n" "$2" | head -n 200 | cut -c1-800 | while IFS= read -r line; do echo "<13>kmodsmith $word $1 $line" >&6; done
}

account() { # what the kernel's own buffer holds since the last time, so that the host sees what the console lacks
    tell mark
    # Nothing of it goes through files, which others could write to.
    # A record is "priority,number,microseconds,flags;text", lines that begin with a space belong to the one above.
    counted=$({ awk -v mark="kmodsmith $word mark" '
        /^ / { next }
        {
            text = substr($0, index($0, ";") + 1)
            if (text == mark) { print lines + 0 >"/proc/self/fd/9"; exit }
            split($0, field, ",")
            count = split(text, line, /\\x0a/)
            for (i = 1; i <= count; i++) {
                gsub(/\\x[0-9a-f][0-9a-f]|[ \t]/, "", line[i])
                if (line[i] != "") { lines++; print field[3] " " substr(line[i], 1, 300) }
            }
        }' <&7 | sha256sum; } 9>&1)
    # Reading stops short of the mark where something was overwritten: then there is no number.
    tell "log $(cat /proc/sys/kernel/tainted)" $counted
}

begin() { # begin STEP [PATIENCE]: after most of its time the kernel says what everybody waits for
    step=$1
    tell "begin $step"
    dog=
    [ -n "${2:-}" ] || return
    (sleep "$2"; echo w >/proc/sysrq-trigger) &
    dog=$!
}

end() { # end CODE [FILE]: FILE is what the step printed
    [ -z "$dog" ] || kill "$dog" 2>/dev/null
    [ ! -s "${2:-}" ] || tell_lines said "$(head -n 200 "$2")"
    tell "end $step $1"
}

take_requests() { # what the kernel started modprobe for since the last time
    sed -n 's/^.*: module_request: \(.*\) wait=[01] call_site=.*$/\1/p' /sys/kernel/tracing/trace | sort -u
    echo >/sys/kernel/tracing/trace
} 2>/dev/null

refuse() { # refuse STEP PATIENCE FILE: reports whether the kernel takes a module that it must not take
    begin "$1"
    insmod "$3" >/tmp/said 2>&1
    code=$?
    [ "$code" != 0 ] || rmmod "$3"
    end "$code" /tmp/said
}

load() { # load STEP PATIENCE WANTED FILE [ARGUMENT...]: WANTED is taken, refused or either; anything else ends the test
    begin "$1" "$2"
    wanted=$3
    shift 3
    insmod "$@" >/tmp/said 2>&1
    code=$?
    tell_lines asked "$(take_requests)"
    end "$code" /tmp/said
    case "$wanted:$code" in
    taken:0) ;;
    taken:*) finish ;;
    refused:0) finish ;;
    esac
}

smoke() { # smoke STEP PATIENCE COMMAND...: with processes and mounts of its own, which end with it
    begin "$1" "$2"
    shift 2
    trusted=$(sum_trusted)
    (cd /kmodsmith/test && exec unshare -p -f --mount-proc /kmodsmith/confine "$@") >/tmp/said 2>&1 </dev/null 6>&- 7>&-
    code=$?
    [ "$trusted" = "$(sum_trusted)" ] || tell changed
    tell_lines asked "$(take_requests)"
    end "$code" /tmp/said
    account
}

sum_trusted() { # what is loaded, and what the kernel or the next test is started by
    cat /kmodsmith/modules/*.ko /kmodsmith/confine /kmodsmith/modprobe /kmodsmith/answers | sha256sum
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
        # The kernel's buffer does not hold what thousands of rounds may print.
        [ $((round % 100)) != 0 ] || account
    done
    [ "$code" = 0 ] || echo "in round $((round + 1))" >>/tmp/said
    grown=$(($(kernel_memory) - memory))
    tell "grown $step $grown"
    end "$code" /tmp/said
    [ "$code" = 0 ] || finish
}

kernel_memory() { # KiB that the kernel cannot give back
    awk '/^(SUnreclaim|VmallocUsed|Percpu):/ { sum += $2 } END { print sum }' /proc/meminfo
}

list_registrations() { # a line for everything that a module can leave behind: KIND WHAT
    # Deep enough for classes, devices, drivers and caches; attributes below them would only cost time.
    {
        find /dev /sys/class /sys/bus /sys/devices /sys/fs /sys/block -maxdepth 3
        find /sys/kernel -maxdepth 2 ! -path '/sys/kernel/debug/*' ! -path '/sys/kernel/slab/*'
        # A link here is a name of a cache that was merged with another one. The kernel never takes it away (mm/slub.c,
        # sysfs_slab_alias() makes it, and removes one that is left over only when the name is used again), so the link
        # tells nothing. Whether the cache was given back, its number of aliases tells: kmem_cache_destroy() lowers it.
        find /sys/kernel/slab -mindepth 1 -maxdepth 1 -type d
        find /sys/module /sys/kernel/debug -maxdepth 1
        find /proc -maxdepth 3 -path '/proc/[0-9]*' -prune -o -path '/proc/*self' -prune -o -print
    } | awk '{ print (/^.dev/ ? "device-node " : /^.sys/ ? "sysfs-entry " : "registration ") $0 }'
    find /sys/kernel/slab -mindepth 2 -maxdepth 2 -name aliases | xargs grep -H . |
        sed -n 's|^/sys/kernel/slab/\(.*\)/aliases:\([0-9]*\)$|slab-aliases \1 \2|p'
    ls -l /sys/kernel/slab | sed -n 's|^l.* \([^ ]*\) -> \([^ ]*\)$|slab-link \1 \2|p'
    cd /proc || return
    # Of interrupts the number and the name; of memory that which was allocated by code that is gone, so has no name.
    awk 'FILENAME == "interrupts" { print "registration /proc/interrupts: " $1 " " $NF; next }
        FILENAME != "vmallocinfo" { sub(/^ +/, ""); print "registration /proc/" FILENAME ": " $0; next }
        $3 ~ /^0x[0-9a-f]+$/ { print "memory " $2 " bytes, allocated at " $3 }' \
        devices misc iomem ioports filesystems interrupts vmallocinfo
    cd /
} 2>/dev/null

list_new() { # what is registered now and was not before; of merged caches, those that have more names in use
    { printf "%s\n\n" "$before"; list_registrations; } | awk '
        /^$/ { now = 1; next }
        $1 == "slab-aliases" && !now { aliases[$2] = $3; next }
        $1 == "slab-aliases" { if ($2 in aliases && $3 + 0 > aliases[$2] + 0) more[$2] = aliases[$2] " " $3; next }
        !now { seen[$0]; next }
        $0 in seen { next }
        $1 == "slab-link" { links[$3] = links[$3] " " $2; next }
        { print }
        END { for (cache in more) print "slab-alias " cache " " more[cache] links[cache] }'
}

leftovers() { # leftovers STEP PATIENCE
    begin "$1"
    for pause in 0.3 0; do
        left=$(list_new)
        [ -n "$left" ] || break
        sleep "$pause" # some things are freed a moment later
    done
    tell_lines left "$left"
    end 0
}

devices() { # devices STEP PATIENCE there|gone|bound|unbound ID...: waits for it, and tells what there is
    begin "$1" "$2"
    wanted=$3
    shift 3
    limit=
    while :; do
        found=$(list_devices "$@")
        # Until it is there, or gone, the host has patience; a probe that is late is given some time.
        counts=$(echo "$found" | awk 'NF { there++ } NF && $4 != "-" { bound++ } END { print bound + 0 ":" there + 0 }')
        case "$wanted:$counts" in
        there:*:$# | gone:*:0 | bound:$#:$# | unbound:0:*) break ;;
        *bound:*:$#)
            read -r now _ </proc/uptime
            [ -n "$limit" ] || limit=$((${now%.*} + 5))
            [ "${now%.*}" -lt "$limit" ] || break
            ;;
        unbound:*) break ;;
        esac
        sleep 0.2
    done
    tell_lines device "$found"
    end 0
}

list_devices() { # list_devices ID...: of the PCI devices of these numbers, ADDRESS ID MODULE DRIVER; "-" where none is
    for folder in /sys/bus/pci/devices/*; do
        read -r vendor <"$folder/vendor" && read -r device <"$folder/device" || continue
        id=${vendor#0x}:${device#0x}
        case " $* " in *" $id "*) ;; *) continue ;; esac
        # The link to the driver is there before its probe is called. This file is locked until that is over.
        read -r driver <"$folder/driver_override"
        driver=$(readlink "$folder/driver")
        module=$(readlink "$folder/driver/module")
        driver=${driver##*/} module=${module##*/}
        echo "${folder##*/} $id ${module:--} ${driver:--}"
    done
} 2>/dev/null

finish() {
    account
    tell finish
    while :; do sleep 60; done # the host ends the machine
}

fact() { # fact NAME FILE: the first line of a file
    value=
    read -r value <"$2"
    tell "fact $1 $value"
} 2>/dev/null

main
