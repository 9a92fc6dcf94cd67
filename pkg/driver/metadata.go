package driver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
	resourceapi "k8s.io/api/resource/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/dynamic-resource-allocation/api/metadata"
	"k8s.io/dynamic-resource-allocation/api/metadata/install"
	metadatav1alpha1 "k8s.io/dynamic-resource-allocation/api/metadata/v1alpha1"
	metadatav1beta1 "k8s.io/dynamic-resource-allocation/api/metadata/v1beta1"
	"k8s.io/dynamic-resource-allocation/devicemetadata"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"
	"k8s.io/dynamic-resource-allocation/resourceclaim"

	"github.com/dra-netdev/dra-netdev/pkg/allocation"
	"github.com/dra-netdev/dra-netdev/pkg/api/v1alpha1"
)

// Where the helper library has its CDI specs mount the files from.
const (
	metadataDir  = "dra-device-metadata"
	metadataFile = "metadata.json"
)

var (
	// metadataVersions are what a file has the same data in, for readers of any
	// age, the newest first.
	metadataVersions = []schema.GroupVersion{metadatav1beta1.SchemeGroupVersion, metadatav1alpha1.SchemeGroupVersion}
	metadataCodecs   = serializer.NewCodecFactory(install.NewScheme())
)

// metadataFiles are what containers read of their claims' devices (KEP-5304): a
// file for each request of a claim, which the helper library has mounted into
// the containers that list it.
//
// A container mounts the file before its runtime hook waits for the interfaces
// (runc), and a mount keeps the file that it was made of. So until the
// interfaces are in the pod the same file is written again, in place: nobody
// reads it. From then on containers run, and a newer one replaces it in one
// step: they go on reading the complete one that they have.
type metadataFiles struct {
	dir   string // the plugin's, on the host too
	store *allocation.Store
}

// fileOps are how the library writes: what the driver has written already stays.
func (m metadataFiles) fileOps() kubeletplugin.MetadataFileOperations {
	return kubeletplugin.MetadataFileOperations{WriteFile: func(name string, text []byte, perm os.FileMode) error {
		if _, err := os.Stat(name); err == nil && filepath.Base(name) == metadataFile {
			return nil
		}
		return renameio.WriteFile(name, text, perm, renameio.IgnoreUmask())
	}}
}

func (m metadataFiles) path(claim allocation.Ref, request string) string {
	return filepath.Join(m.dir, metadataDir, claim.Namespace+"_"+claim.Name, resourceclaim.BaseRequestRef(request), metadataFile)
}

// prepare writes the files of a claim, of which all are the records and watched
// are devices without one. A file that an attach has begun with, or is about to,
// is the attach's to write.
func (m metadataFiles) prepare(claim *resourceapi.ResourceClaim, all []allocation.Record, watched []metadata.DeviceMetadataRequest) error {
	ref := claimRef(claim)
	unlock, err := m.store.TryLockClaims(ref.UID)
	locked := err == nil
	if locked {
		defer unlock()
		all = m.store.OfClaim(ref.UID)
	}
	begun := slices.ContainsFunc(m.store.OfClaim(ref.UID), func(r allocation.Record) bool { return r.Attachment != nil })
	wanted := requestsOf(all)
	for i, request := range append(wanted, watched...) {
		moves := i < len(wanted)
		path := m.path(ref, request.Name)
		had, err := readMetadata(path)
		same := err == nil && string(had.UID) == ref.UID
		half := err != nil && !errors.Is(err, fs.ErrNotExist) // an attach is about to write it, or was cut off
		if moves && (same || half) && (!locked || begun) {
			continue
		}
		next := metadataOf(ref, request, had)
		next.PodClaimName = nil
		if name, ok := claim.Annotations[resourceapi.PodResourceClaimAnnotation]; ok {
			next.PodClaimName = &name
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("write device metadata: %w", err)
		}
		if err := put(path, had, next, moves && same); err != nil {
			return err
		}
	}
	return nil
}

// arrived writes what is known of links that are in their pod by now, whose
// containers have mounted the files and wait. The caller holds the claims.
func (m metadataFiles) arrived(all []allocation.Record) error {
	return m.update(m.withOthers(all), true)
}

// refresh writes anew what has changed since the links came into the pod, the
// addresses that they lease: containers that are made from now on read it. What
// somebody is moving is passed over.
func (m metadataFiles) refresh(keys []allocation.Key) error {
	var uids []string
	for _, k := range keys {
		if r, ok := m.store.Get(k); ok && r.Attached() && len(r.Leases) > 0 && !slices.Contains(uids, k.ClaimUID) {
			uids = append(uids, k.ClaimUID)
		}
	}
	for _, uid := range uids {
		unlock, err := m.store.TryLockClaims(uid)
		if err != nil {
			continue
		}
		all := slices.DeleteFunc(m.store.OfClaim(uid), func(r allocation.Record) bool { return !r.Attached() })
		err = m.update(m.withOthers(all), false)
		unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// withOthers returns the records with the others of their claims.
func (m metadataFiles) withOthers(all []allocation.Record) []allocation.Record {
	return append(slices.Clone(all), m.store.Find(func(o allocation.Record) bool {
		return slices.ContainsFunc(all, func(r allocation.Record) bool { return r.Claim.UID == o.Claim.UID }) &&
			!slices.ContainsFunc(all, func(r allocation.Record) bool { return r.Key() == o.Key() })
	})...)
}

// update writes the files of the records' requests that are there and differ: a
// claim that an older driver has prepared has none.
func (m metadataFiles) update(all []allocation.Record, inPlace bool) error {
	claims := map[string][]allocation.Record{}
	for _, r := range all {
		claims[r.Claim.UID] = append(claims[r.Claim.UID], r)
	}
	for _, all := range claims {
		ref := all[0].Claim
		for _, request := range requestsOf(all) {
			path := m.path(ref, request.Name)
			had, err := readMetadata(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			next := metadataOf(ref, request, had)
			if err != nil && all[0].PodClaim != "" { // half a file, of a process that was killed
				next.PodClaimName = &all[0].PodClaim
			}
			if err := put(path, had, next, inPlace); err != nil {
				return err
			}
		}
	}
	return nil
}

// requestsOf returns the devices of a claim's records by request.
func requestsOf(all []allocation.Record) []metadata.DeviceMetadataRequest {
	devices := map[string][]metadata.Device{}
	for _, r := range all {
		d := metadata.Device{Driver: v1alpha1.DriverName, Pool: r.Pool, Name: r.Device.Name, Attributes: maps.Clone(r.Device.Attributes)}
		if r.Attached() && r.Attachment.InPod.State.Name != "" {
			inPod := withLeases(r)
			d.NetworkData = networkData(inPod)
			if d.Attributes == nil {
				d.Attributes = map[resourceapi.QualifiedName]resourceapi.DeviceAttribute{}
			}
			d.Attributes[v1alpha1.AttributeMTU] = resourceapi.DeviceAttribute{IntValue: new(int64(inPod.MTU))}
		}
		devices[r.Request] = append(devices[r.Request], d)
	}
	var requests []metadata.DeviceMetadataRequest
	for _, name := range slices.Sorted(maps.Keys(devices)) {
		slices.SortFunc(devices[name], func(a, b metadata.Device) int { return strings.Compare(a.Name, b.Name) })
		requests = append(requests, metadata.DeviceMetadataRequest{Name: name, Devices: devices[name]})
	}
	return requests
}

// metadataOf returns what is to be in a file in place of what was.
func metadataOf(claim allocation.Ref, request metadata.DeviceMetadataRequest, had metadata.DeviceMetadata) metadata.DeviceMetadata {
	next := metadata.DeviceMetadata{
		ObjectMeta: metav1.ObjectMeta{Name: claim.Name, Namespace: claim.Namespace, UID: types.UID(claim.UID), Generation: 1},
		Requests:   []metadata.DeviceMetadataRequest{request},
	}
	if had.UID == next.UID {
		next.Generation, next.PodClaimName = had.Generation+1, had.PodClaimName
	}
	return next
}

// readMetadata reads a file.
func readMetadata(path string) (m metadata.DeviceMetadata, err error) {
	text, err := os.ReadFile(path)
	if err == nil {
		err = devicemetadata.DecodeMetadataFromStream(json.NewDecoder(bytes.NewReader(text)), &m)
	}
	if err != nil {
		return metadata.DeviceMetadata{}, fmt.Errorf("read device metadata: %w", err)
	}
	return m, nil
}

// put writes a file, unless it has the same in it but for the generation.
func put(path string, had, next metadata.DeviceMetadata, inPlace bool) error {
	had.Generation = next.Generation
	if apiequality.Semantic.DeepEqual(had, next) {
		return nil
	}
	var text bytes.Buffer
	info, _ := runtime.SerializerInfoForMediaType(metadataCodecs.SupportedMediaTypes(), runtime.ContentTypeJSON)
	for _, version := range metadataVersions {
		if err := metadataCodecs.EncoderForVersion(info.PrettySerializer, version).Encode(&next, &text); err != nil {
			return fmt.Errorf("write device metadata: %w", err)
		}
	}
	write := func() error { return replace(path, text.Bytes()) }
	if inPlace {
		write = func() error { return overwrite(path, text.Bytes()) }
	}
	if err := write(); err != nil {
		return fmt.Errorf("write device metadata: %w", err)
	}
	return nil
}

// replace replaces a file in one step. It does not wait for the disk, which may
// take longer than all else in Prepare: after a power cut Prepare writes it anew.
func replace(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+metadataFile)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// overwrite replaces what is in a file.
func overwrite(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(text, 0)
	return errors.Join(err, f.Truncate(int64(len(text))), f.Close())
}
