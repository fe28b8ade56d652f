package main

import (
	"archive/tar"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sys/unix"
)

const (
	imageRoot = "VEGA_TEST_IMAGE_ROOT"
	patience  = 20 * time.Second
	megabytes = 30 // of an unpacked image at most, and of an idle proxy's memory
)

func open(t *testing.T) (v1.Image, v1.Config) {
	t.Helper()
	img, err := tarball.ImageFromPath(file("_image.tar"), nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.OS != "linux" || cfg.Architecture != arch {
		t.Errorf("an image for %s/%s", cfg.OS, cfg.Architecture)
	}
	return img, cfg.Config
}

// TestImageIsTheDockerfiles holds that both ways to an image come to the same.
func TestImageIsTheDockerfiles(t *testing.T) {
	t.Parallel()
	_, cfg := open(t)
	_, last, _ := strings.Cut(string(content(t, root+"/Dockerfile")), "FROM scratch\n")
	list := func(s []string) string { b, _ := json.Marshal(s); return strings.ReplaceAll(string(b), ",", ", ") }
	said := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^([A-Z]+) (.+)$`).FindAllStringSubmatch(last, -1) {
		said[m[1]] = m[2]
	}
	if len(cfg.Volumes) != 1 || len(cfg.ExposedPorts) != 2 {
		t.Errorf("volumes %v, ports %v", cfg.Volumes, cfg.ExposedPorts)
	}
	for name, want := range map[string]string{
		"USER": cfg.User, "WORKDIR": cfg.WorkingDir, "ENV": strings.Join(cfg.Env, " "), "VOLUME": "/data", "EXPOSE": "8080 8081",
		"ENTRYPOINT": list(cfg.Entrypoint), "CMD": list(cfg.Cmd),
		"HEALTHCHECK": "--interval=" + cfg.Healthcheck.Interval.String() + " --timeout=" + cfg.Healthcheck.Timeout.String() +
			" --start-period=" + cfg.Healthcheck.StartPeriod.String() + " CMD " + list(cfg.Healthcheck.Test[1:]),
	} {
		if said[name] != want {
			t.Errorf("the Dockerfile says %s %s, the image has %s", name, said[name], want)
		}
	}
}

// TestImageServes unpacks the image and runs it as a container would: as its user,
// who may do nothing else, in a root that cannot be written, with a volume at
// /data. Not beside other tests, for TestArchive's reason.
func TestImageServes(t *testing.T) {
	img, cfg := open(t)
	dir := t.TempDir()
	if size := extract(t, img, dir); size > megabytes*1_000_000 {
		t.Errorf("unpacked it has %d bytes", size)
	}
	certificates := strings.Count(string(content(t, filepath.Join(dir, "etc/ssl/certs/ca-certificates.crt"))), "BEGIN CERTIFICATE")
	if certificates < 100 || !x509.NewCertPool().AppendCertsFromPEM(roots()) {
		t.Errorf("it knows %d authorities", certificates)
	}

	cmd := inside(t, dir, cfg.Env, append(append(cfg.Entrypoint[:1:1], cfg.Cmd...), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"))
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: this needs user namespaces, which this machine may have turned off", err)
	}
	var admin string
	for lines := json.NewDecoder(log); ; {
		var line struct{ Msg, Address string }
		if err := lines.Decode(&line); err != nil {
			t.Fatalf("it did not start: %v", errors.Join(err, cmd.Wait()))
		}
		if line.Msg == "admin listening" {
			admin = "http://" + line.Address
		}
		if line.Msg == "proxy listening" {
			break
		}
	}
	res, err := (&http.Client{Timeout: patience}).Get(admin + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("/readyz: %s", res.Status)
	}
	t.Logf("ready %v after the start, its namespaces and mounts included", time.Since(begun))
	rss := resident(t, cmd.Process.Pid)
	if t.Logf("idle it holds %d bytes", rss); rss > megabytes*1_000_000 {
		t.Errorf("that is more than %d MB", megabytes)
	}
	check := inside(t, dir, cfg.Env, append(cfg.Healthcheck.Test[1:], "--url", admin+"/readyz"))
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("the health check: %v\n%s", err, out)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "admin-key")); err != nil {
		t.Error(err)
	}
}

// resident is how much memory a process holds.
func resident(t *testing.T, pid int) (bytes int) {
	t.Helper()
	status := string(content(t, fmt.Sprintf("/proc/%d/status", pid)))
	_, rest, _ := strings.Cut(status, "\nVmRSS:")
	if n, err := fmt.Sscanf(rest, "%d kB", &bytes); n != 1 {
		t.Fatalf("%v in %q", err, status)
	}
	return bytes << 10
}

// extract unpacks an image without owners and returns its size.
func extract(t *testing.T, img v1.Image, dir string) (size int64) {
	t.Helper()
	flat := mutate.Extract(img)
	defer flat.Close()
	for tr := tar.NewReader(flat); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return size
		}
		if err != nil {
			t.Fatal(err)
		}
		size += h.Size
		to := filepath.Join(dir, h.Name)
		if owner := map[bool]int{true: user}[filepath.Clean(h.Name) == "data"]; h.Uid != owner || h.Gid != owner {
			t.Errorf("%s belongs to %d:%d", h.Name, h.Uid, h.Gid)
		}
		if h.Typeflag == tar.TypeDir {
			err = os.Mkdir(to, os.FileMode(h.Mode))
		} else {
			err = writeFile(to, tr, os.FileMode(h.Mode))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// writeFile writes piece by piece, as engines do: the kernel would keep a program that
// was written at once in huge pages, and count all of it as memory of who runs it.
func writeFile(name string, from io.Reader, mode os.FileMode) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}

// inside is a command in an unpacked image, in namespaces of its own. This
// program is started there first, to make the root what it has to be.
func inside(t *testing.T, dir string, env, args []string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(env, imageRoot+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Getgid(), Size: 1}},
		AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SYS_CHROOT},
	}
	return cmd
}

// enter makes dir the root, not to be written but for /data, gives up all rights
// and becomes the command. It does not return.
func enter(dir string) {
	runtime.LockOSThread() // rights are a thread's
	data := filepath.Join(dir, "data")
	err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	for _, at := range []string{dir, data} {
		err = errors.Join(err, unix.Mount(at, at, "", unix.MS_BIND, ""))
	}
	err = errors.Join(err, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	err = errors.Join(err, unix.Chroot(dir), unix.Chdir("/data"))
	err = errors.Join(err, unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	err = errors.Join(err, unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
	if werr := os.WriteFile("/written", nil, 0o600); err == nil && !errors.Is(werr, unix.EROFS) {
		err = errors.New("the root can be written")
	}
	if err == nil {
		os.Unsetenv(imageRoot)
		err = unix.Exec(os.Args[1], os.Args[1:], os.Environ())
	}
	os.Stderr.WriteString(err.Error() + "\n")
	os.Exit(1)
}
