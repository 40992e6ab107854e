// Command fsck runs Tessera's own check of a log's integrity over an exported log of Grace.
//
// Usage: fsck DIR, where DIR holds vkey, checkpoint, tile/… and tile/entries/….
//
// Tessera opens the checkpoint with the vkey, streams every entry bundle, computes each tile and the root anew, and
// compares them with the stored ones. It prints one line, or says what is wrong.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"
)

// leafHashes parses an entry bundle, as the hasher of Tessera's own fsck command does.
func leafHashes(bundle []byte) ([][]byte, error) {
	parsed := &api.EntryBundle{}
	if err := parsed.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	hashes := make([][]byte, 0, len(parsed.Entries))
	for _, entry := range parsed.Entries {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return hashes, nil
}

// run returns what Tessera's check finds. A check whose workers have all found faults waits for ever (v1.0.4: nobody
// reads on what is left to compare), so its status is looked at as well.
func run(ctx context.Context, checker *fsck.Fsck) error {
	found := make(chan error, 1)
	go func() {
		defer func() { // Tessera takes it for granted that a bundle holds as many entries as belong there
			if fault := recover(); fault != nil {
				found <- fmt.Errorf("fsck stopped: %v", fault)
			}
		}()
		found <- checker.Check(ctx)
	}()
	for {
		select {
		case err := <-found:
			return err
		case <-time.After(time.Second):
			for level, ranges := range checker.Status().TileRanges {
				for _, tiles := range ranges {
					if tiles.State == fsck.Invalid || tiles.State == fsck.FetchError {
						return fmt.Errorf("tile %d of level %d is not what its entries hash to", tiles.First, level)
					}
				}
			}
		}
	}
}

func check(dir string) (*log.Checkpoint, error) {
	vkey, err := os.ReadFile(filepath.Join(dir, "vkey"))
	if err != nil {
		return nil, err
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(vkey)))
	if err != nil {
		return nil, err
	}
	files := client.FileFetcher{Root: dir}
	ctx := context.Background()
	workers := fsck.Opts{N: uint(runtime.NumCPU())}
	if err := run(ctx, fsck.New(verifier.Name(), verifier, files, leafHashes, workers)); err != nil {
		return nil, err
	}
	checkpoint, _, _, err := client.FetchCheckpoint(ctx, files.ReadCheckpoint, verifier, verifier.Name())
	return checkpoint, err
}

func main() {
	klog.LogToStderr(false) // Tessera's own lines: what it finds comes back as an error
	klog.SetOutput(io.Discard)
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: fsck DIR")
		os.Exit(2)
	}
	checkpoint, err := check(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "refused:", err)
		os.Exit(1)
	}
	fmt.Printf("accepted %s: %d entries, root %x\n", checkpoint.Origin, checkpoint.Size, checkpoint.Hash)
}
