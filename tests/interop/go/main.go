// Command accept checks an exported log of Grace with Go's own transparency-log packages.
//
// Usage: accept DIR, where DIR holds vkey, checkpoint, tile/… and tile/entries/…, and possibly *.tlog-proof files.
//
// It verifies the signed note (sumdb/note), hashes every entry and compares it with the tree that the tiles make,
// each tile checked against the signed root (sumdb/tlog.TileHashReader), makes and checks record and tree proofs from
// the tiles, and checks every proof file against the entry it is for. It prints one line, or says what is wrong.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	height = 8
	width  = 1 << height
	batch  = 64 * width // leaf hashes asked of the tiles at once
)

// folder serves tiles by their C2SP paths, which leave out the height that Go's paths name.
type folder string

func c2spPath(tile tlog.Tile) string {
	return strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", height), "tile/", 1)
}

func (dir folder) Height() int { return height }

func (dir folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, tile := range tiles {
		read, err := os.ReadFile(filepath.Join(string(dir), c2spPath(tile)))
		if err != nil {
			return nil, err
		}
		data[i] = read
	}
	return data, nil
}

func (dir folder) SaveTiles([]tlog.Tile, [][]byte) {}

// openCheckpoint returns the origin and tree of the checkpoint, once its note is verified with the vkey beside it.
func openCheckpoint(dir string) (string, tlog.Tree, error) {
	vkey, err := os.ReadFile(filepath.Join(dir, "vkey"))
	if err != nil {
		return "", tlog.Tree{}, err
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(vkey)))
	if err != nil {
		return "", tlog.Tree{}, err
	}
	signed, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		return "", tlog.Tree{}, err
	}
	return parseCheckpoint(signed, verifier)
}

func parseCheckpoint(signed []byte, verifier note.Verifier) (string, tlog.Tree, error) {
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return "", tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return "", tlog.Tree{}, fmt.Errorf("checkpoint %q is not of %s", opened.Text, verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return "", tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return "", tlog.Tree{}, err
	}
	return lines[0], tlog.Tree{N: size, Hash: root}, nil
}

// readEntries returns every entry of the log, from its bundles.
func readEntries(dir string, size int64) ([][]byte, error) {
	var entries [][]byte
	for n := int64(0); n*width < size; n++ {
		tile := tlog.Tile{H: height, L: -1, N: n, W: int(min(width, size-n*width))}
		path := strings.Replace(c2spPath(tile), "tile/data/", "tile/entries/", 1)
		data, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			return nil, err
		}
		for len(data) >= 2 && len(data) >= 2+int(binary.BigEndian.Uint16(data)) {
			end := 2 + int(binary.BigEndian.Uint16(data))
			entries = append(entries, data[2:end])
			data = data[end:]
		}
		if len(data) > 0 {
			return nil, fmt.Errorf("%s has %d bytes left over", path, len(data))
		}
	}
	if int64(len(entries)) != size {
		return nil, fmt.Errorf("the bundles hold %d entries, the checkpoint says %d", len(entries), size)
	}
	return entries, nil
}

// checkRecords compares the hash of every entry with the leaf that the tiles hold.
func checkRecords(entries [][]byte, reader tlog.HashReader) error {
	for start := 0; start < len(entries); start += batch {
		end := min(start+batch, len(entries))
		var indexes []int64
		for i := start; i < end; i++ {
			indexes = append(indexes, tlog.StoredHashIndex(0, int64(i)))
		}
		hashes, err := reader.ReadHashes(indexes)
		if err != nil {
			return err
		}
		for i, hash := range hashes {
			if tlog.RecordHash(entries[start+i]) != hash {
				return fmt.Errorf("entry %d is not the one in the tree", start+i)
			}
		}
	}
	return nil
}

// checkProofs makes and checks record and tree proofs at both ends, in the middle and around the borders of tiles.
func checkProofs(entries [][]byte, tree tlog.Tree, reader tlog.HashReader) (int, error) {
	checked := 0
	for _, n := range []int64{0, 1, 254, 255, 256, 257, 65535, 65536, tree.N / 2, tree.N - 1} {
		if n < 0 || n >= tree.N {
			continue
		}
		record, err := tlog.ProveRecord(tree.N, n, reader)
		if err != nil {
			return checked, err
		}
		if err := tlog.CheckRecord(record, tree.N, tree.Hash, n, tlog.RecordHash(entries[n])); err != nil {
			return checked, fmt.Errorf("entry %d: %w", n, err)
		}
		old, err := tlog.TreeHash(n+1, reader)
		if err != nil {
			return checked, err
		}
		extension, err := tlog.ProveTree(tree.N, n+1, reader)
		if err != nil {
			return checked, err
		}
		if err := tlog.CheckTree(extension, tree.N, tree.Hash, n+1, old); err != nil {
			return checked, fmt.Errorf("tree of %d: %w", n+1, err)
		}
		checked += 2
	}
	return checked, nil
}

// checkProofFile checks one c2sp.org/tlog-proof@v1 file against the entry at its index.
func checkProofFile(path, checkpoint string, tree tlog.Tree, entries [][]byte) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, signed, found := strings.Cut(string(data), "\n\n")
	lines := strings.Split(head, "\n")
	if !found || signed != checkpoint || len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return fmt.Errorf("%s is no proof file for this checkpoint", path)
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	if err != nil || index >= tree.N {
		return fmt.Errorf("%s: %q is no index of the log", path, lines[1])
	}
	var proof tlog.RecordProof
	for _, line := range lines[2:] {
		hash, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(hash) != tlog.HashSize {
			return fmt.Errorf("%s: %q is no hash", path, line)
		}
		proof = append(proof, tlog.Hash(hash))
	}
	return tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entries[index]))
}

func accept(dir string) (string, error) {
	origin, tree, err := openCheckpoint(dir)
	if err != nil {
		return "", err
	}
	entries, err := readEntries(dir, tree.N)
	if err != nil {
		return "", err
	}
	reader := tlog.TileHashReader(tree, folder(dir))
	if err := checkRecords(entries, reader); err != nil {
		return "", err
	}
	proofs, err := checkProofs(entries, tree, reader)
	if err != nil {
		return "", err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.tlog-proof"))
	if err != nil {
		return "", err
	}
	checkpoint, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		return "", err
	}
	for _, path := range files {
		if err := checkProofFile(path, string(checkpoint), tree, entries); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("accepted %s: %d entries, %d proofs, %d proof files, root %v",
		origin, tree.N, proofs, len(files), tree.Hash), nil
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: accept DIR")
		os.Exit(2)
	}
	line, err := accept(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "refused:", err)
		os.Exit(1)
	}
	fmt.Println(line)
}
