// A server of OpAMP on opamp-go's own package: it offers a file to every agent that does not have it yet, and prints a
// line of JSON for each message.
//
//	opamp ADDRESS FILE    (while FILE is not there, nothing is offered)
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"os/signal"

	"github.com/open-telemetry/opamp-go/protobufs"
	"github.com/open-telemetry/opamp-go/server"
	"github.com/open-telemetry/opamp-go/server/types"
	"google.golang.org/protobuf/encoding/protojson"
)

func main() {
	address, file := os.Args[1], os.Args[2]
	onMessage := func(_ context.Context, _ types.Connection, message *protobufs.AgentToServer) *protobufs.ServerToAgent {
		if line, err := protojson.Marshal(message); err == nil {
			fmt.Println(string(line))
		}
		answer := &protobufs.ServerToAgent{InstanceUid: message.InstanceUid}
		body, err := os.ReadFile(file)
		hash := sha256.Sum256(body)
		if err == nil && !bytes.Equal(message.GetRemoteConfigStatus().GetLastRemoteConfigHash(), hash[:]) {
			offered := &protobufs.AgentConfigFile{Body: body, ContentType: "text/toml"}
			answer.RemoteConfig = &protobufs.AgentRemoteConfig{
				Config:     &protobufs.AgentConfigMap{ConfigMap: map[string]*protobufs.AgentConfigFile{"": offered}},
				ConfigHash: hash[:],
			}
		}
		return answer
	}
	onConnecting := func(*http.Request) types.ConnectionResponse {
		return types.ConnectionResponse{Accept: true, ConnectionCallbacks: types.ConnectionCallbacks{OnMessage: onMessage}}
	}
	settings := server.StartSettings{ListenEndpoint: address}
	settings.Callbacks = types.Callbacks{OnConnecting: onConnecting}
	if err := server.New(nil).Start(settings); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	<-stop
}
