// Checks a transparency log with golang.org/x/mod/sumdb: what is signed with its note package, what is hashed with
// its tlog package.
//
//	tlog checkpoint   POLICY CHECKPOINT                  the log signed it, and the quorum cosigned it
//	tlog inclusion    POLICY PROOF LEAF                  a .tlog-proof of these bytes
//	tlog consistency  POLICY PROOF CHECKPOINT            the newer tree of a proof is the checkpoint's
//	tlog tiles        POLICY DIRECTORY|URL               checkpoint, every entry and every tile agree
//
// Exit 0: accepted. Exit 8: refused, with the reason. Anything else: something else broke.
package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// refusal is the reason for which something is not accepted.
type refusal struct{ reason string }

func (r refusal) Error() string { return r.reason }

func refuse(format string, arguments ...any) error {
	return refusal{fmt.Sprintf(format, arguments...)}
}

func main() {
	said, err := run(os.Args[1:])
	var refused refusal
	switch {
	case errors.As(err, &refused):
		fmt.Println("refused:", refused)
		os.Exit(8)
	case err != nil:
		fmt.Fprintln(os.Stderr, "tlog:", err)
		os.Exit(1)
	}
	fmt.Println("accepted:", said)
}

func run(arguments []string) (string, error) {
	words := map[string]int{"checkpoint": 1, "inclusion": 2, "consistency": 2, "tiles": 1}
	if len(arguments) < 2 || len(arguments) != 2+words[arguments[0]] {
		return "", errors.New("usage: tlog checkpoint|inclusion|consistency|tiles POLICY …")
	}
	text, err := os.ReadFile(arguments[1])
	if err != nil {
		return "", err
	}
	policy, err := readPolicy(string(text))
	if err != nil {
		return "", err
	}
	if arguments[0] == "tiles" {
		return policy.tiles(arguments[2])
	}
	var files [][]byte
	for _, path := range arguments[2:] {
		file, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		files = append(files, file)
	}
	switch arguments[0] {
	case "checkpoint":
		tree, err := policy.checkpoint(files[0])
		return tree.String(), err
	case "inclusion":
		return policy.inclusion(files[0], files[1])
	default:
		return policy.consistency(files[0], files[1])
	}
}

func (p *policy) inclusion(proof, leaf []byte) (string, error) {
	head, checkpoint, found := strings.Cut(string(proof), "\n\n")
	if !found {
		return "", refuse("no empty line before the checkpoint")
	}
	tree, err := p.checkpoint([]byte(checkpoint))
	if err != nil {
		return "", err
	}
	lines := strings.Split(head, "\n")
	if lines[0] != "c2sp.org/tlog-proof@v1" {
		return "", refuse("the first line is %q", lines[0])
	}
	lines = lines[1:]
	if len(lines) > 0 && strings.HasPrefix(lines[0], "extra ") {
		lines = lines[1:]
	}
	if len(lines) == 0 || !strings.HasPrefix(lines[0], "index ") {
		return "", refuse("no index")
	}
	index, err := decimal(strings.TrimPrefix(lines[0], "index "))
	if err != nil {
		return "", err
	}
	path, err := hashes(lines[1:])
	if err != nil {
		return "", err
	}
	if err := tlog.CheckRecord(path, tree.size, tree.root, index, tlog.RecordHash(leaf)); err != nil {
		return "", refuse("entry %d of %d: %v", index, tree.size, err)
	}
	return fmt.Sprintf("entry %d of %v", index, tree), nil
}

func (p *policy) consistency(proof, checkpoint []byte) (string, error) {
	tree, err := p.checkpoint(checkpoint)
	if err != nil {
		return "", err
	}
	type end struct {
		Size int64
		Root string
	}
	var document struct {
		Old, New end
		Hashes   []string
	}
	if err := json.Unmarshal(proof, &document); err != nil {
		return "", refuse("%v", err)
	}
	roots, err := hashes([]string{document.Old.Root, document.New.Root})
	if err != nil {
		return "", err
	}
	path, err := hashes(document.Hashes)
	if err != nil {
		return "", err
	}
	if document.New.Size != tree.size || roots[1] != tree.root {
		return "", refuse("the newer tree is not %v", tree)
	}
	if err := tlog.CheckTree(path, tree.size, tree.root, document.Old.Size, roots[0]); err != nil {
		return "", refuse("%d to %d: %v", document.Old.Size, tree.size, err)
	}
	return fmt.Sprintf("%d entries are the first of %v", document.Old.Size, tree), nil
}

func hashes(lines []string) ([]tlog.Hash, error) {
	var all []tlog.Hash
	for _, line := range lines {
		bytes, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(bytes) != tlog.HashSize {
			return nil, refuse("%q is no hash", line)
		}
		all = append(all, tlog.Hash(bytes))
	}
	return all, nil
}

// decimal reads a number in its one form.
func decimal(text string) (int64, error) {
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || number < 0 || strconv.FormatInt(number, 10) != text {
		return 0, refuse("%q is no number", text)
	}
	return number, nil
}
