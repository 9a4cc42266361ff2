# docker build -t cairn . && docker run -p 8080:8080 -p 9090:9090 -v cairn:/data cairn
# Debian trixie: uWebSockets.js needs glibc 2.38 or newer.
FROM node:24-trixie-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY . .
# The build, then only what runs: production dependencies without native binaries of other platforms.
RUN npm run build && npm prune --omit=dev && node .ci/image-trim.mjs

FROM node:24-trixie-slim
ENV NODE_ENV=production \
    CAIRN_HOST=0.0.0.0 \
    CAIRN_DATA_DIR=/data
WORKDIR /app
COPY --from=build /app/package.json /app/LICENSE ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
RUN ln -s /app/dist/src/cli/cairn.js /usr/local/bin/cairn && mkdir /data && chown node:node /data
USER node
VOLUME /data
# HTTP API, management (bound to loopback inside the container unless told otherwise), binary protocol, Raft
EXPOSE 8080 8081 9090 9091
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + (process.env.CAIRN_MANAGEMENT_PORT ?? 8081) + '/readyz').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/app/dist/src/cli/cairn.js"]
CMD ["serve"]
