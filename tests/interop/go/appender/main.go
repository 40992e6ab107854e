// Command appender measures Tessera's POSIX log: it appends entries and says how many a second became durable.
//
// Usage: appender DIR ENTRIES BYTES BATCH, where DIR is a new folder. It prints entries a second.
//
// All entries are offered at once, so that every batch is full; the clock stops when the last entry is integrated: its
// bundle, its tiles and the tree's state are written and synced. Checkpoints are signed on the way, every 100 ms.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"
)

func measure(dir string, count, size, batch uint) (float64, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	secret, _, err := note.GenerateKey(rand.Reader, "log.example/tessera")
	if err != nil {
		return 0, err
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		return 0, err
	}
	driver, err := posix.New(ctx, posix.Config{Path: dir})
	if err != nil {
		return 0, err
	}
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithBatching(batch, time.Second).
		WithCheckpointInterval(100 * time.Millisecond).
		WithPushback(count)
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		return 0, err
	}
	entries := make([][]byte, count)
	for i := range entries {
		entries[i] = make([]byte, size)
		if _, err := rand.Read(entries[i]); err != nil {
			return 0, err
		}
	}
	futures := make([]tessera.IndexFuture, count)
	started := time.Now()
	for i, entry := range entries {
		futures[i] = appender.Add(ctx, tessera.NewEntry(entry))
	}
	for _, future := range futures {
		if _, err := future(); err != nil {
			return 0, err
		}
	}
	seconds := time.Since(started).Seconds()
	integrated, err := reader.IntegratedSize(ctx)
	if err != nil {
		return 0, err
	}
	if integrated != uint64(count) {
		return 0, fmt.Errorf("%d of %d entries are integrated", integrated, count)
	}
	return float64(count) / seconds, shutdown(ctx)
}

func main() {
	klog.LogToStderr(false) // what goes wrong comes back as an error
	klog.SetOutput(io.Discard)
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: appender DIR ENTRIES BYTES BATCH")
		os.Exit(2)
	}
	var numbers [3]uint
	for i, text := range os.Args[2:] {
		number, err := strconv.ParseUint(text, 10, 32)
		if err != nil || number == 0 {
			fmt.Fprintf(os.Stderr, "%q is no number above zero\n", text)
			os.Exit(2)
		}
		numbers[i] = uint(number)
	}
	rate, err := measure(os.Args[1], numbers[0], numbers[1], numbers[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "failed:", err)
		os.Exit(1)
	}
	fmt.Printf("%.1f\n", rate)
}
