/*
 * Tries the ways out of a compile. Prints "PROBE name: open" or "PROBE name: closed (reason)" for each.
 *
 * SECRET is the path of a file of the host; whoever can read it has left.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void tell(const char *name, long result)
{
	if (result < 0)
		printf("PROBE %s: closed (%s)\n", name, strerror(errno));
	else
		printf("PROBE %s: open\n", name);
	fflush(stdout);
}

static void try_open(const char *name, const char *path, int flags)
{
	int file = open(path, flags | O_NONBLOCK | O_CLOEXEC, 0600);

	tell(name, file);
	if (file >= 0)
		close(file);
}

/* The classic: a folder that is open before chroot, and from there up to the real root. */
static long double_chroot(void)
{
	int here = open(".", O_RDONLY | O_DIRECTORY);
	int i;

	mkdir("/tmp/cell", 0755);
	if (here < 0 || chroot("/tmp/cell") < 0 || fchdir(here) < 0)
		return -1;
	for (i = 0; i < 64; i++)
		if (chdir("..") < 0)
			return -1;
	if (chroot(".") < 0)
		return -1;
	return access(SECRET, R_OK);
}

/* In a child, because a way that is open changes who we are. */
static void in_child(const char *name, long (*attempt)(void))
{
	fflush(stdout);
	if (fork() == 0) {
		tell(name, attempt());
		_exit(0);
	}
	wait(NULL);
}

static long new_user_namespace(void) { return unshare(CLONE_NEWUSER); }
static long new_mounts(void) { return unshare(CLONE_NEWNS); }
static long new_mounts_as_user(void) { return unshare(CLONE_NEWUSER | CLONE_NEWNS); }
static long mount_proc(void) { return mount("proc", "/tmp", "proc", 0, ""); }
static long mount_tmpfs(void) { return mount("none", "/tmp", "tmpfs", 0, ""); }
static long open_proc(void) { return mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND, NULL); }
static long unmount_sys(void) { return umount2("/proc/sys", MNT_DETACH); }
static long trace_first(void)
{
	if (ptrace(PTRACE_ATTACH, 1, 0, 0) < 0)
		return -1;
	waitpid(1, NULL, 0);
	return ptrace(PTRACE_DETACH, 1, 0, 0); /* or the jail stops for good */
}
static long join_first(void) { int n = open("/proc/1/ns/mnt", O_RDONLY); return n < 0 ? -1 : setns(n, 0); }
static long handle(void) { return syscall(SYS_open_by_handle_at, AT_FDCWD, "", 0) < 0 && errno == EPERM ? -1 : 0; }
static long block_device(void) { return mknod("/tmp/disk", S_IFBLK | 0600, makedev(254, 0)); }
static long memory_device(void) { return mknod("/tmp/mem", S_IFCHR | 0600, makedev(1, 1)); }
static long raise_limits(void) { return setpriority(0, 0, -20); }
static long load_module(void) { return syscall(SYS_init_module, "", 0, "") < 0 && errno == EPERM ? -1 : 0; }
static long kernel_log(void) { return syscall(SYS_syslog, 5, NULL, 0); }
static long session_keys(void) { return syscall(SYS_keyctl, 0, -3, 0); }
static long add_key(void) { return syscall(SYS_add_key, "user", "kmodsmith", "x", 1, -3); }
static long to_hypervisor(void) { return socket(40 /* AF_VSOCK */, SOCK_STREAM, 0); }
static long raw_packets(void) { return socket(AF_PACKET, SOCK_RAW, 0); }
static long trace_kernel(void) { return syscall(SYS_perf_event_open, 0, 0, 0, 0, 0) < 0 && errno == EFAULT ? 0 : -1; }

#ifdef SYS_bpf
static long load_program(void) { return syscall(SYS_bpf, 5, NULL, 0) < 0 && errno == EPERM ? -1 : 0; }
#endif

static long abstract_socket(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int end = socket(AF_UNIX, SOCK_STREAM, 0);

	memcpy(address.sun_path + 1, ABSTRACT, strlen(ABSTRACT));
	return connect(end, (struct sockaddr *)&address, sizeof(sa_family_t) + 1 + strlen(ABSTRACT));
}

/* Whether a process is one of those that built the jail, and not of our own kind. */
static int is_keeper(int pid)
{
	char path[64], name[16] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	file = fopen(path, "r");
	if (file) {
		if (!fgets(name, sizeof(name), file))
			name[0] = 0;
		fclose(file);
	}
	return pid == 1 || !strncmp(name, "buildah", 7) || !strncmp(name, "bwrap", 5) || !strncmp(name, "exe", 3);
}

static int can_open(int pid, const char *what, int flags)
{
	char path[64];
	int file;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, what);
	file = open(path, flags | O_CLOEXEC);
	if (file >= 0)
		close(file);
	return file >= 0;
}

/* Through other processes: their root folders, environments, memory and open files. */
static void through_processes(void)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	int roots = 0, environments = 0, memories = 0, files = 0, keepers = 0;
	char path[512];

	while (proc && (entry = readdir(proc))) {
		int pid = atoi(entry->d_name);

		if (pid <= 0 || pid == getpid())
			continue;
		snprintf(path, sizeof(path), "/proc/%d/root%s", pid, SECRET);
		roots += access(path, R_OK) == 0;
		snprintf(path, sizeof(path), "/proc/%d/cwd/../../../../../../..%s", pid, SECRET);
		roots += access(path, R_OK) == 0;
		if (is_keeper(pid)) {
			keepers++;
			environments += can_open(pid, "environ", O_RDONLY);
			memories += can_open(pid, "mem", O_RDWR);
			snprintf(path, sizeof(path), "/proc/%d/fd/0", pid);
			files += readlink(path, path, sizeof(path)) >= 0 || can_open(pid, "fd/0", O_RDONLY);
		}
	}
	printf("PROBE-SAW %d keepers\n", keepers);
	errno = EACCES;
	tell("root-of-a-process", roots ? 0 : -1);
	tell("environment-of-a-keeper", environments ? 0 : -1);
	tell("memory-of-a-keeper", memories ? 0 : -1);
	tell("files-of-a-keeper", files ? 0 : -1);
}

int main(void)
{
	in_child("double-chroot", double_chroot);
	try_open("secret-by-path", SECRET, O_RDONLY);
	through_processes();
	in_child("user-namespace", new_user_namespace);
	in_child("mount-namespace", new_mounts);
	in_child("user-and-mount-namespace", new_mounts_as_user);
	in_child("mount-proc", mount_proc);
	in_child("mount-tmpfs", mount_tmpfs);
	in_child("remount-proc-sys", open_proc);
	in_child("unmount-proc-sys", unmount_sys);
	in_child("ptrace-init", trace_first);
	in_child("setns-of-init", join_first);
	in_child("open-by-handle", handle);
	in_child("mknod-disk", block_device);
	in_child("mknod-mem", memory_device);
	in_child("raise-priority", raise_limits);
	in_child("init-module", load_module);
	in_child("kernel-log", kernel_log);
	in_child("session-keyring", session_keys);
	in_child("add-key", add_key);
	in_child("vsock", to_hypervisor);
	in_child("packet-socket", raw_packets);
	in_child("perf", trace_kernel);
#ifdef SYS_bpf
	in_child("bpf", load_program);
#endif
	in_child("abstract-socket", abstract_socket);
	try_open("dev-kvm", "/dev/kvm", O_RDWR);
	try_open("dev-loop", "/dev/loop-control", O_RDWR);
	try_open("dev-fuse", "/dev/fuse", O_RDWR);
	try_open("dev-tun", "/dev/net/tun", O_RDWR);
	try_open("dev-mem", "/dev/mem", O_RDONLY);
	try_open("dev-kmsg", "/dev/kmsg", O_RDWR);
	try_open("dev-disk", "/dev/vda", O_RDONLY);
	try_open("dev-new-file", "/dev/left-behind", O_CREAT | O_WRONLY);
	try_open("shm-of-host", "/dev/shm/" SHARED, O_RDONLY);
	try_open("core-pattern", "/proc/sys/kernel/core_pattern", O_WRONLY);
	try_open("modprobe-path", "/proc/sys/kernel/modprobe", O_WRONLY);
	try_open("sysrq", "/proc/sysrq-trigger", O_WRONLY);
	try_open("kcore", "/proc/kcore", O_RDONLY);
	try_open("uevent-helper", "/sys/kernel/uevent_helper", O_WRONLY);
	try_open("control-groups", "/sys/fs/cgroup/cgroup.procs", O_WRONLY);
	try_open("control-groups-pids", "/sys/fs/cgroup/pids/cgroup.procs", O_WRONLY);
	return 0;
}
