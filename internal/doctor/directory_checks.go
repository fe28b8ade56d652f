package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"
)

// ofDirectory makes a check of the data directory that needs it to be usable.
func ofDirectory(judge func(f *facts, d *directory) Result) func(*facts) []Result {
	return func(f *facts) []Result {
		switch d := f.data; {
		case d == nil || d.err != nil:
			return []Result{skipped("the data directory cannot be used")}
		default:
			return []Result{judge(f, d)}
		}
	}
}

func checkDirectory(f *facts) []Result {
	d, path := f.data, f.cfg.DataDir
	const meaning = "the proxy does not start, or keeps no conversations"
	switch {
	case d == nil:
		return []Result{wrong(path+": its disk did not answer in time", "the proxy hangs or loses conversations", "see whether the disk is in trouble, or its server away")}
	case d.err != nil:
		return []Result{wrong(fmt.Sprintf("%s: %s", path, pathCause(d.err)), meaning, "set data_dir to a directory that the proxy's user may write")}
	case errors.Is(d.write, syscall.ENOSPC), errors.Is(d.write, syscall.EDQUOT):
		return []Result{wrong(path+": the disk is full", "conversations are lost, and counted as write_failed", "free space on that disk, or set data_dir to another")}
	case d.write != nil && d.missing:
		return []Result{wrong(fmt.Sprintf("%s is not there, and cannot be made in %s: %s", path, d.parent, pathCause(d.write)), meaning,
			"make it, and give it to the user that runs the proxy: install -d -m 0700 -o USER "+path)}
	case d.write != nil:
		return []Result{wrong(fmt.Sprintf("no file can be written in %s: %s", path, pathCause(d.write)), meaning,
			"give it to the user that runs the proxy: chown -R USER "+path+"; or mount it so that it can be written")}
	case d.missing:
		return []Result{ok(path + " is made at the start")}
	}
	return []Result{ok("files can be written in " + path)}
}

// pathCause is an error of the file system without the path, which is said already.
func pathCause(err error) string {
	if e, is := errors.AsType[*fs.PathError](err); is {
		return e.Err.Error()
	}
	return err.Error()
}

func checkMode(_ *facts, d *directory) Result {
	switch {
	case d.missing:
		return skipped("it is not there yet")
	case d.mode&0o077 != 0:
		return warning(fmt.Sprintf("its mode is %04o", d.mode), "other users of this machine see its files' names, and any file that is not closed to them",
			"chmod 700 "+d.path)
	case len(d.open) > 0:
		return warning("others may read "+some(d.open), "conversations and keys are in there", fmt.Sprintf("chmod -R go= %s", d.path))
	}
	return ok(fmt.Sprintf("its mode is %04o", d.mode))
}

func checkOwner(_ *facts, d *directory) Result {
	if len(d.foreign) > 0 {
		return wrong("this user may not write "+some(d.foreign), "the proxy, run by this user, cannot open its own files",
			"give them to the user that runs the proxy: chown -R USER "+d.path+"; run the doctor as that user")
	}
	return ok("this user may read and write its files")
}

func some(names []string) string {
	const shown = 3
	if len(names) > shown {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
	}
	return strings.Join(names, ", ")
}

// scarce is how much free space is next to none.
const scarce = 64 << 20

func checkSpace(f *facts, d *directory) Result {
	if d.free < 0 {
		return skipped("this system does not say how much is free")
	}
	found := bytesText(d.free) + " are free"
	need := max(f.cfg.Batchlog.Spool.MaxBytes-d.used, 0)
	switch {
	case d.free < scarce:
		return wrong(found, "the disk is nearly full: conversations will be lost", "free space on that disk, or set data_dir to another")
	case f.cfg.Batchlog.Enabled && d.free < need:
		return warning(fmt.Sprintf("%s, and the spool may take %s more", found, bytesText(need)), "in a long outage of the database the disk is full before the spool is at its bound",
			"free space, or lower batchlog.spool.max_bytes")
	}
	return ok(found)
}

const (
	slowSync     = 500 * time.Millisecond
	slowWhenSync = 20 * time.Millisecond // where each answer waits for it
)

func checkSync(f *facts, d *directory) Result {
	switch {
	case d.missing || d.write != nil:
		return skipped("no file was written")
	case f.cfg.Batchlog.Spool.Fsync == "always" && d.sync > slowWhenSync:
		return warning(fmt.Sprintf("a sync takes %s, and batchlog.spool.fsync is always", short(d.sync)), "each answer waits that long for the disk before its end",
			"take a faster disk, or write fsync: 1s, with which a power cut may lose a second")
	case d.sync > slowSync:
		return warning(fmt.Sprintf("a sync takes %s", short(d.sync)), "the disk is slow or busy: records may be counted as late", "see what else writes to it")
	}
	return ok(fmt.Sprintf("a sync takes %s", short(d.sync)))
}

func checkVolume(_ *facts, d *directory) Result {
	switch d.kind {
	case "tmpfs":
		return warning("it is in memory (tmpfs)", "conversations and the admin key are gone after a restart of the machine or pod, and count against its memory",
			"set data_dir to a disk, if they are to stay")
	case "overlay":
		return warning("it is in a container's own layer", "conversations and the admin key are gone with the container", "mount a volume there")
	case "nfs", "cifs", "smb2", "fuse":
		return warning(fmt.Sprintf("it is on a file system over the network, or in user space (%s)", d.kind), "its locks and syncs may not keep what they promise, and SQLite may be damaged",
			"set data_dir to a local disk; keep conversations in Postgres")
	}
	return ok("it is on a disk of its machine, as far as can be seen")
}

func checkLock(f *facts, d *directory) Result {
	switch {
	case d.locked < 0:
		return skipped("this system does not say whether a process holds it")
	case d.locked == 0:
		return ok("no proxy uses it now")
	case f.proxy != nil && f.proxy.ours:
		return ok(fmt.Sprintf("the running proxy uses it (process %d)", d.locked))
	case strings.HasSuffix(f.cfg.Admin.Listen, ":0"):
		return ok(fmt.Sprintf("process %d uses it, at an admin port that is not known", d.locked))
	}
	return wrong(fmt.Sprintf("process %d holds it, and is not the proxy at admin.listen", d.locked), "a proxy with this configuration would refuse to start",
		"stop that process, or give this proxy a data_dir of its own")
}

// bytesText is a size as people say it.
func bytesText(n int64) string {
	const unit = 1 << 10
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, i := float64(n), -1
	for value >= unit {
		value /= unit
		i++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTPE"[i])
}
