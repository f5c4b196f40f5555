package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// policy is whose signatures make a checkpoint acceptable, as c2sp.org/tlog-policy writes it.
type policy struct {
	log       note.Verifier
	witnesses map[string]note.Verifier
	groups    map[string]group
	quorum    string
}

type group struct {
	least   int
	members []string
}

func readPolicy(text string) (*policy, error) {
	p := &policy{witnesses: map[string]note.Verifier{}, groups: map[string]group{}}
	for line := range strings.Lines(text) {
		line, _, _ := strings.Cut(line, "#")
		words := strings.Fields(line)
		var err error
		switch {
		case len(words) == 0:
		case words[0] == "log" && len(words) >= 2 && p.log == nil:
			p.log, err = note.NewVerifier(words[1])
		case words[0] == "witness" && len(words) >= 3:
			p.witnesses[words[1]], err = newCosignature(words[2])
		case words[0] == "group" && len(words) >= 4:
			members := words[3:]
			least := map[string]int{"any": 1, "all": len(members)}[words[2]]
			if least == 0 {
				least, err = strconv.Atoi(words[2])
			}
			p.groups[words[1]] = group{least, members}
		case words[0] == "quorum" && len(words) == 2 && p.quorum == "":
			p.quorum = words[1]
		default:
			err = errors.New("unknown")
		}
		if err != nil {
			return nil, fmt.Errorf("policy: %q: %w", line, err)
		}
	}
	if p.log == nil || p.quorum == "" {
		return nil, errors.New("policy: needs a log and a quorum")
	}
	return p, nil
}

// cosignature verifies a timestamped Ed25519 cosignature, type 0x04 of c2sp.org/tlog-cosignature.
type cosignature struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func newCosignature(vkey string) (note.Verifier, error) {
	fields := strings.SplitN(vkey, "+", 3)
	if len(fields) != 3 {
		return nil, errors.New("not a verifier key")
	}
	key, err := base64.StdEncoding.DecodeString(fields[2])
	if err != nil || len(key) != 1+ed25519.PublicKeySize || key[0] != 4 {
		return nil, errors.New("not a cosigner's Ed25519 key")
	}
	sum := sha256.Sum256(append([]byte(fields[0]+"\n"), key...))
	if fmt.Sprintf("%x", sum[:4]) != fields[1] {
		return nil, errors.New("its key id is another")
	}
	return cosignature{fields[0], binary.BigEndian.Uint32(sum[:]), key[1:]}, nil
}

func (c cosignature) Name() string    { return c.name }
func (c cosignature) KeyHash() uint32 { return c.hash }

func (c cosignature) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	time := binary.BigEndian.Uint64(signature)
	message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", time, text)
	return time != 0 && ed25519.Verify(c.key, []byte(message), signature[8:])
}

// tree is what a checkpoint says.
type tree struct {
	origin string
	size   int64
	root   tlog.Hash
}

func (t tree) String() string { return fmt.Sprintf("%s %d %v", t.origin, t.size, t.root) }

// checkpoint reads a checkpoint that the policy accepts.
func (p *policy) checkpoint(message []byte) (tree, error) {
	verifiers := []note.Verifier{p.log}
	for _, witness := range p.witnesses {
		verifiers = append(verifiers, witness)
	}
	opened, err := note.Open(message, note.VerifierList(verifiers...))
	if err != nil {
		return tree{}, refuse("checkpoint: %v", err)
	}
	signed := func(by note.Verifier) bool {
		for _, signature := range opened.Sigs {
			if signature.Name == by.Name() && signature.Hash == by.KeyHash() {
				return true
			}
		}
		return false
	}
	if !signed(p.log) {
		return tree{}, refuse("checkpoint: not signed by the log")
	}
	if p.quorum != "none" && !p.met(p.quorum, signed) {
		return tree{}, refuse("checkpoint: no quorum")
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 {
		return tree{}, refuse("checkpoint: %d lines", len(lines)-1)
	}
	if lines[0] != p.log.Name() {
		return tree{}, refuse("checkpoint: its origin is %q", lines[0])
	}
	size, err := decimal(lines[1])
	if err != nil {
		return tree{}, err
	}
	root, err := hashes(lines[2:3])
	if err != nil {
		return tree{}, err
	}
	return tree{lines[0], size, root[0]}, nil
}

// met says whether a witness, or enough members of a group, signed.
func (p *policy) met(name string, signed func(note.Verifier) bool) bool {
	if witness, found := p.witnesses[name]; found {
		return signed(witness)
	}
	group, found := p.groups[name]
	count := 0
	for _, member := range group.members {
		if p.met(member, signed) {
			count++
		}
	}
	return found && count >= group.least
}
