// Command mkimage writes a container image of one layer, made of files of this machine, as an archive
// that "ctr images import", "docker load" and "kind load image-archive" accept:
//
//	mkimage -o out.tar -name cluster.test/tool:1 -cmd "/bin/tool --flag" /bin/tool=bin/tool "/bin/sh=>tool"
//
// An argument DEST=SRC adds the file SRC, an argument DEST=>TARGET a symbolic link.
// No clock, owner or file mode of this machine gets into the image: the same files give the same digest.
package main

import (
	"archive/tar"
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// mountPoints are needed by every container; with a read-only root the runtime cannot make them.
var mountPoints = []string{"/dev", "/etc", "/proc", "/run", "/sys", "/tmp"}

func main() {
	log.SetFlags(0)
	log.SetPrefix("mkimage: ")
	out := flag.String("o", "", "archive to write")
	tag := flag.String("name", "", "name and tag of the image")
	cmd := flag.String("cmd", "", "entry point, its words separated by spaces")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: mkimage -o FILE -name IMAGE:TAG [-cmd COMMAND] {DEST=SRC | DEST=>TARGET}...")
		flag.PrintDefaults()
	}
	flag.Parse()
	if *out == "" || *tag == "" {
		flag.Usage()
		os.Exit(2)
	}
	if err := write(*out, *tag, strings.Fields(*cmd), flag.Args()); err != nil {
		log.Fatal(err)
	}
}

// write makes the image and stores it at out.
func write(out, tag string, entrypoint, entries []string) error {
	ref, err := name.NewTag(tag, name.StrictValidation)
	if err != nil {
		return err
	}
	files, err := layerTar(entries)
	if err != nil {
		return err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files)), nil })
	if err != nil {
		return err
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config = v1.Config{
		Entrypoint: entrypoint,
		Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return err
	}
	return tarball.WriteToFile(out, ref, img)
}

// layerTar returns the entries as a tar archive: sorted, each below directories that come before it.
func layerTar(entries []string) ([]byte, error) {
	var buf bytes.Buffer
	w := &layerWriter{Writer: tar.NewWriter(&buf), dirs: map[string]bool{"/": true}}
	for _, dir := range mountPoints {
		if err := w.dir(dir); err != nil {
			return nil, err
		}
	}
	for _, entry := range slices.Sorted(slices.Values(entries)) {
		if err := w.entry(entry); err != nil {
			return nil, fmt.Errorf("entry %q: %w", entry, err)
		}
	}
	err := w.Close()
	return buf.Bytes(), err
}

// layerWriter is a tar writer that remembers which directories it has written.
type layerWriter struct {
	*tar.Writer
	dirs map[string]bool
}

// entry adds one DEST=SRC or DEST=>TARGET.
func (w *layerWriter) entry(entry string) error {
	dest, src, ok := strings.Cut(entry, "=")
	if !ok || !path.IsAbs(dest) || path.Clean(dest) != dest {
		return fmt.Errorf("want /DEST=SRC or /DEST=>TARGET")
	}
	if err := w.dir(path.Dir(dest)); err != nil {
		return err
	}
	if target, ok := strings.CutPrefix(src, ">"); ok {
		return w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: dest[1:], Linkname: target, Mode: 0o777})
	}
	content, err := os.ReadFile(src)
	if err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: dest[1:], Mode: 0o755, Size: int64(len(content))}); err != nil {
		return err
	}
	_, err = w.Write(content)
	return err
}

// dir adds a directory and those above it, each once.
func (w *layerWriter) dir(dir string) error {
	if w.dirs[dir] {
		return nil
	}
	if err := w.dir(path.Dir(dir)); err != nil {
		return err
	}
	w.dirs[dir] = true
	return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir[1:] + "/", Mode: 0o755})
}
