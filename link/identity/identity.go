// Package identity says who a process of a cluster is, by the certificate that it
// shows: a URI among its names, godwit://CLUSTER/ROLE/NAME. It also makes an
// authority and such certificates for a trial; a cluster in earnest has its own.
//
// It opens no connections and knows nothing of what the processes say to each other.
package identity

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/godwit-im/godwit"
)

// Scheme begins the URI.
const Scheme = "godwit"

// The roles that a process has on a link.
const (
	Engine = "engine"
	Edge   = "edge"
)

// Identity is one process. In what is asked for, an empty name stands for any.
type Identity struct{ Cluster, Role, Name string }

// String is the URI.
func (i Identity) String() string { return i.uri().String() }

func (i Identity) uri() *url.URL {
	return &url.URL{Scheme: Scheme, Host: i.Cluster, Path: "/" + i.Role + "/" + i.Name}
}

// clusterBytesMax is what the host of a URI may have in one label.
const clusterBytesMax = 63

// CheckCluster says what is wrong with a cluster's name: it is a label of a host.
func CheckCluster(cluster string) error {
	ok := len(cluster) > 0 && len(cluster) <= clusterBytesMax && cluster[0] != '-' && cluster[len(cluster)-1] != '-'
	for _, c := range []byte(cluster) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	}
	if !ok {
		return errors.New("a cluster's name is 1 to 63 of a-z, 0-9 and -, the last neither first nor at the end")
	}
	return nil
}

// Check says what is wrong with an identity that has a name.
func (i Identity) Check() error {
	if err := CheckCluster(i.Cluster); err != nil {
		return err
	}
	switch {
	case i.Role != Engine && i.Role != Edge:
		return fmt.Errorf("a role is %s or %s", Engine, Edge)
	case !godwit.ValidID(i.Name):
		return fmt.Errorf("a process's name: %w", godwit.ErrBadID)
	}
	return nil
}

// parse reads a URI; false if it is none of a process.
func parse(u *url.URL) (i Identity, ok bool) {
	role, name, ok := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	i = Identity{Cluster: u.Host, Role: role, Name: name}
	return i, ok && u.Scheme == Scheme && u.User == nil && u.RawQuery == "" && u.Fragment == "" && i.Check() == nil
}

// Of returns the processes that a certificate is of.
func Of(leaf *x509.Certificate) (all []Identity) {
	for _, u := range leaf.URIs {
		if i, ok := parse(u); ok {
			all = append(all, i)
		}
	}
	return all
}

// Verify refuses a certificate that is not of the process wanted. That it leads to
// the right authority is the caller's to see.
func Verify(leaf *x509.Certificate, want Identity) error {
	all := Of(leaf)
	if len(all) == 0 {
		return fmt.Errorf("the certificate has no name of the form %s://CLUSTER/ROLE/NAME", Scheme)
	}
	complaint := ""
	for _, i := range all {
		switch {
		case i.Cluster != want.Cluster:
			complaint = fmt.Sprintf("of cluster %q, and this is cluster %q", i.Cluster, want.Cluster)
		case i.Role != want.Role:
			complaint = fmt.Sprintf("of an %s process, where an %s process belongs", i.Role, want.Role)
		case want.Name != "" && i.Name != want.Name:
			complaint = fmt.Sprintf("of %q, and the process says that it is %q", i.Name, want.Name)
		default:
			return nil
		}
	}
	return fmt.Errorf("the certificate (%s) is %s", all[len(all)-1], complaint)
}
