package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// height is the height of a tile of c2sp.org/tlog-tiles.
const height = 8

// tiles reads a whole log, and rebuilds it from nothing but its entries.
func (p *policy) tiles(from string) (string, error) {
	checkpoint, err := read(from, "checkpoint")
	if err != nil {
		return "", err
	}
	tree, err := p.checkpoint(checkpoint)
	if err != nil {
		return "", err
	}
	stored := stored{}
	tiles := tlog.NewTiles(height, 0, tree.size)
	for _, tile := range tiles {
		if tile.L == 0 {
			if err := stored.append(from, tile); err != nil {
				return "", err
			}
		}
	}
	root, err := tlog.TreeHash(tree.size, &stored)
	if err != nil {
		return "", refuse("%v", err)
	}
	if root != tree.root {
		return "", refuse("the entries have the root %v, the checkpoint has %v", root, tree.root)
	}
	for _, tile := range tiles {
		served, err := read(from, path(tile))
		if err != nil {
			return "", err
		}
		rebuilt, err := tlog.ReadTileData(tile, &stored)
		if err != nil {
			return "", err
		}
		if !bytes.Equal(served, rebuilt) {
			return "", refuse("%s is not what the entries give", path(tile))
		}
	}
	return fmt.Sprintf("%d tiles of %v", len(tiles), tree), nil
}

// stored holds the hashes of the entries read so far, in the order of tlog's storage.
type stored struct {
	size   int64
	hashes []tlog.Hash
}

func (s *stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var all []tlog.Hash
	for _, index := range indexes {
		if index >= int64(len(s.hashes)) {
			return nil, errors.New("too few entries")
		}
		all = append(all, s.hashes[index])
	}
	return all, nil
}

// append reads the entries under a tile.
func (s *stored) append(from string, tile tlog.Tile) error {
	tile.L = -1
	bundle, err := read(from, path(tile))
	if err != nil {
		return err
	}
	for range tile.W {
		if len(bundle) < 2 {
			return refuse("%s ends early", path(tile))
		}
		length := int(binary.BigEndian.Uint16(bundle))
		bundle = bundle[2:]
		if len(bundle) < length {
			return refuse("%s ends early", path(tile))
		}
		hashes, err := tlog.StoredHashesForRecordHash(s.size, tlog.RecordHash(bundle[:length]), s)
		if err != nil {
			return err
		}
		s.hashes = append(s.hashes, hashes...)
		s.size++
		bundle = bundle[length:]
	}
	if len(bundle) != 0 {
		return refuse("%s goes on after %d entries", path(tile), tile.W)
	}
	return nil
}

// path is where c2sp.org/tlog-tiles has a tile; tlog names the height too, and calls entries data.
func path(tile tlog.Tile) string {
	path := strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", height))
	if rest, found := strings.CutPrefix(path, "data/"); found {
		path = "entries/" + rest
	}
	return "tile/" + path
}

func read(from, path string) ([]byte, error) {
	if !strings.HasPrefix(from, "http://") {
		bytes, err := os.ReadFile(filepath.Join(from, path))
		if errors.Is(err, os.ErrNotExist) {
			return nil, refuse("no %s", path)
		}
		return bytes, err
	}
	response, err := http.Get(strings.TrimSuffix(from, "/") + "/" + path)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, refuse("%s: %s", path, response.Status)
	}
	return io.ReadAll(response.Body)
}
